package fsm

import (
	"bytes"
	"unicode/utf8"

	"github.com/profilenode/profilenode/lock"
)

// Server is a registered game server or tool.
type Server struct {
	Incarnation lock.Incarnation
	Name        string
	Where       string
	Ping        string // host:port that it holds open for its whole life
	Peer        string // where the leader saw it come from
	Tool        bool
	Alive       bool
	Successor   lock.Incarnation // its process registered anew as this one, and stopped using its sessions; 0: it did not
	SinceMS     int64
	EndedMS     int64
	Ground      lock.Ground // on which it ended
	Nonce       []byte
	Class       TimingClass // as it was when it registered: its owner and the judge count with this copy
	Activity
}

// Activity is what of an incarnation moves with its commands; a row of its own, so that a save does not write the rest.
type Activity struct {
	Last     lock.Token // of its last applied command: what a verdict names
	Settled  uint64     // every number at or below is settled
	Sessions int        // profiles that it holds
	Held     uint64     // lock.HeldHash over them
}

const (
	kindGameServer = 0
	kindTool       = 1
)

func (s Server) encode() []byte {
	w := newRow(96 + len(s.Name) + len(s.Where) + len(s.Ping) + len(s.Peer))
	w.string(s.Name)
	w.string(s.Where)
	w.string(s.Ping)
	w.string(s.Peer)
	w.bool(s.Tool)
	w.bool(s.Alive)
	w.uint(uint64(s.Successor))
	w.int(s.SinceMS)
	w.int(s.EndedMS)
	w.uint(uint64(s.Ground))
	w.bytes(s.Nonce)
	w.string(s.Class.Name)
	w.timing(s.Class.Timing)
	return w
}

func decodeServer(id lock.Incarnation, row []byte) (Server, error) {
	f := readRow(row)
	s := Server{
		Incarnation: id, Name: f.string(), Where: f.string(), Ping: f.string(), Peer: f.string(), Tool: f.bool(), Alive: f.bool(),
		Successor: lock.Incarnation(f.uint()), SinceMS: f.int(), EndedMS: f.int(), Ground: lock.Ground(f.uint()), Nonce: bytes.Clone(f.bytes()), Class: TimingClass{f.string(), f.timing()},
	}
	return s, f.done(tableServer)
}

func (a Activity) encode() []byte {
	w := newRow(32)
	w.uint(uint64(a.Last))
	w.uint(a.Settled)
	w.uint(uint64(a.Sessions))
	w.fixed(a.Held)
	return w
}

// server reads who an incarnation is, without its activity.
func (r *reader) server(id lock.Incarnation) (Server, bool) {
	row, ok := r.get(serverKey(tableServer, id))
	if !ok {
		return Server{}, false
	}
	s, err := decodeServer(id, row)
	r.check(err)
	return s, r.err == nil
}

func (r *reader) activity(id lock.Incarnation) Activity {
	row, ok := r.get(serverKey(tableActivity, id))
	if !ok {
		return Activity{}
	}
	f := readRow(row)
	a := Activity{Last: lock.Token(f.uint()), Settled: f.uint(), Sessions: int(f.uint()), Held: f.fixed()}
	r.check(f.done(tableActivity))
	return a
}

func (r *reader) alive(id lock.Incarnation) bool {
	s, ok := r.server(id)
	return ok && s.Alive
}

func (t *tx) held(id lock.Incarnation, change int, store, key string, token lock.Token) {
	if !t.has(serverKey(tableActivity, id)) {
		return // of an incarnation that is forgotten already
	}
	a := t.activity(id)
	a.Sessions += change
	a.Held = lock.HeldHash(a.Held, store, key, token)
	t.put(serverKey(tableActivity, id), a.encode())
}

func (t *tx) register(c *Register) Result {
	if c.Name == "" || len(c.Name) > MaxName || !utf8.ValidString(c.Name) || len(c.Nonce) != NonceBytes || c.Kind > kindTool ||
		len(c.Where) > MaxWhere || len(c.Ping) > MaxWhere || len(c.Peer) > MaxWhere {
		return Result{Code: Invalid}
	}
	if len(c.Cluster) > 0 && !bytes.Equal(c.Cluster, t.standing.Cluster) || c.Epoch != 0 && c.Epoch != t.standing.Epoch {
		return Result{Code: OtherCluster}
	}
	nonce := append([]byte{tableNonce}, c.Nonce...)
	if row, ok := t.get(nonce); ok {
		f := readRow(row)
		id := lock.Incarnation(f.uint())
		t.check(f.done(tableNonce))
		if !t.alive(id) {
			return Result{Code: ServerGone, Repeated: true, Token: lock.Token(id)}
		}
		return Result{Repeated: true, Token: lock.Token(id)}
	}
	class, ok := t.class(c.TimingClass)
	if !ok {
		return Result{Code: UnknownClass}
	}
	name := appendText([]byte{tableName}, c.Name)
	replaced, replaces := t.replaced(c)
	if holder, ok := t.nameHolder(name); ok && !(replaces && holder == replaced.Incarnation) {
		held, _ := t.server(holder)
		return Result{Code: NameHeld, Owner: holder, Limit: uint64(held.Class.Lease.Milliseconds())}
	}

	id := lock.Incarnation(t.at)
	if replaces {
		t.delete(appendText([]byte{tableName}, replaced.Name))
		replaced.Successor = id
		t.put(serverKey(tableServer, replaced.Incarnation), replaced.encode())
	}
	w := newRow(10)
	w.uint(uint64(id))
	t.put(name, w)
	t.put(nonce, w)
	t.put(serverKey(tableServer, id), Server{
		Name: c.Name, Where: c.Where, Ping: c.Ping, Peer: c.Peer, Tool: c.Kind == kindTool, Alive: true,
		SinceMS: t.standing.StampMS, Nonce: c.Nonce, Class: class,
	}.encode())
	t.put(serverKey(tableActivity, id), Activity{Last: t.at}.encode())
	return Result{Token: t.at}
}

// replaced is the living incarnation whose goodbye a registration is, if it is one. Who registers must show that it is the
// process that registered that one. It is not ended here: a copy of that process, or its successor that started from a file,
// knows the same, and whoever was confirmed a moment ago may still believe.
func (r *reader) replaced(c *Register) (Server, bool) {
	if c.Replaces == 0 || c.ReplacedRegistration == 0 || len(c.Cluster) == 0 {
		return Server{}, false
	}
	s, ok := r.server(lock.Incarnation(c.Replaces))
	return s, ok && s.Alive && s.Successor == 0 && lock.Registration(s.Nonce) == c.ReplacedRegistration
}

func (r *reader) nameHolder(name []byte) (lock.Incarnation, bool) {
	row, ok := r.get(name)
	if !ok {
		return 0, false
	}
	f := readRow(row)
	id := lock.Incarnation(f.uint())
	r.check(f.done(tableName))
	return id, true
}

// end ends an incarnation: one row, however much it owned. Its grants are out of force from here because it is not
// alive; whoever waits for one is served by walk, or by the next command that touches the profile.
func (t *tx) end(id lock.Incarnation, ground lock.Ground) {
	s, ok := t.server(id)
	if !ok || !s.Alive {
		return
	}
	s.Alive, s.EndedMS, s.Ground = false, t.standing.StampMS, ground
	t.put(serverKey(tableServer, id), s.encode())
	t.put(goneKey(s.EndedMS, id), newRow(0))
	if s.Successor == 0 { // else it has lost its name already, and another one may have it
		t.delete(appendText([]byte{tableName}, s.Name))
	}
	t.sweep(serverKey(tableOwned, id))
	t.sweep(serverKey(tableMail, id))
	t.sweep(serverKey(tablePart, id))
	t.delete(serverKey(tableParts, id))
	t.tell(Event{Kind: ServerEnded, Server: id})
	if ground != lock.Goodbye {
		t.audit(DeedEnd, 0, id, Audit{Ground: ground, Cause: lock.Expired})
	}
}

// expireServers carries out verdicts, each only if what it judged is still so.
func (t *tx) expireServers(c *ExpireServers) Result {
	if len(c.Verdicts) > MaxVerdicts {
		return Result{Code: Invalid}
	}
	if c.Term != t.term {
		return Result{Code: Superseded}
	}
	done := Result{Code: Superseded}
	for _, v := range c.Verdicts {
		id := lock.Incarnation(v.Incarnation)
		if t.alive(id) && t.activity(id).Last == lock.Token(v.Last) {
			t.end(id, lock.Ground(v.Ground))
			done.Code = OK
		}
	}
	return done
}

// forget drops what is kept of incarnations that ended before a stamp: from then on their answers are forgotten.
func (t *tx) forget(c *Forget) Result {
	type gone struct {
		key   []byte
		id    lock.Incarnation
		nonce []byte
	}
	var old []gone
	more := false
	t.scan([]byte{tableGone}, goneKey(max(c.BeforeMs, 0), 0), func(key, _ []byte) bool {
		if len(old) == min(int(c.Limit), MaxStep) {
			more = true
			return false
		}
		old = append(old, gone{key: bytes.Clone(key), id: goneID(key)})
		return true
	})
	for i := range old { // all are read before a range is deleted, which would make reading slow
		s, _ := t.server(old[i].id)
		old[i].nonce = s.Nonce
	}
	for _, g := range old {
		if g.nonce != nil {
			t.delete(append([]byte{tableNonce}, g.nonce...))
		}
		t.delete(serverKey(tableServer, g.id))
		t.delete(serverKey(tableActivity, g.id))
		t.deleteAll(serverKey(tableAnswer, g.id))
		t.delete(g.key)
	}
	return Result{More: more}
}
