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
	Ping        string // host:port of its ping port, which it holds open until its process ends
	Peer        string // address from which its registration reached the leader
	Tool        bool
	Alive       bool
	Successor   lock.Incarnation // its process registered again as this one, and stopped using the sessions of before; 0: it did not
	SinceMS     int64
	EndedMS     int64
	Ground      lock.Ground // on which it ended
	Nonce       []byte
	Class       TimingClass // as it was at registration: the game server and the failure detector count with this copy
	Activity
}

// Activity holds the fields of an incarnation that change with its commands. It has a row of its own, so that a save does
// not write the others again.
type Activity struct {
	Last      lock.Token // token of its last applied command; an expiry names it
	Settled   uint64     // every number at or below this one is settled
	Sessions  int        // count of the profiles that it holds
	Held      uint64     // lock.HeldHash over these profiles
	Owned     int        // count of the grants that name it as owner, revoked ones included
	Contested int        // count of those that have waiters, or that were revoked
	Answers   int        // count of the answers that are kept for it
}

const (
	kindGameServer = 0
	kindTool       = 1
)

func (s Server) encode() []byte {
	w := newRowWriter(96 + len(s.Name) + len(s.Where) + len(s.Ping) + len(s.Peer))
	w.writeString(s.Name)
	w.writeString(s.Where)
	w.writeString(s.Ping)
	w.writeString(s.Peer)
	w.writeBool(s.Tool)
	w.writeBool(s.Alive)
	w.writeUint(uint64(s.Successor))
	w.writeInt(s.SinceMS)
	w.writeInt(s.EndedMS)
	w.writeUint(uint64(s.Ground))
	w.writeBytes(s.Nonce)
	w.writeString(s.Class.Name)
	w.writeTiming(s.Class.Timing)
	return w
}

func decodeServer(id lock.Incarnation, row []byte) (Server, error) {
	f := newRowReader(row)
	s := Server{
		Incarnation: id, Name: f.readString(), Where: f.readString(), Ping: f.readString(), Peer: f.readString(), Tool: f.readBool(), Alive: f.readBool(),
		Successor: lock.Incarnation(f.readUint()), SinceMS: f.readInt(), EndedMS: f.readInt(), Ground: lock.Ground(f.readUint()), Nonce: bytes.Clone(f.readBytes()), Class: TimingClass{f.readString(), f.readTiming()},
	}
	return s, f.finishRow(tableServer)
}

func (a Activity) encode() []byte {
	w := newRowWriter(32)
	w.writeUint(uint64(a.Last))
	w.writeUint(a.Settled)
	w.writeUint(uint64(a.Sessions))
	w.writeFixed(a.Held)
	w.writeUint(uint64(a.Owned))
	w.writeUint(uint64(a.Contested))
	w.writeUint(uint64(a.Answers))
	return w
}

// readServer reads an incarnation's row, without its activity.
func (r *tableReader) readServer(id lock.Incarnation) (Server, bool) {
	row, ok := r.getRow(serverKey(tableServer, id))
	if !ok {
		return Server{}, false
	}
	s, err := decodeServer(id, row)
	r.noteError(err)
	return s, r.err == nil
}

func (r *tableReader) readActivity(id lock.Incarnation) Activity {
	row, ok := r.getRow(serverKey(tableActivity, id))
	if !ok {
		return Activity{}
	}
	f := newRowReader(row)
	a := Activity{Last: lock.Token(f.readUint()), Settled: f.readUint(), Sessions: int(f.readUint()), Held: f.readFixed(),
		Owned: int(f.readUint()), Contested: int(f.readUint()), Answers: int(f.readUint())}
	r.noteError(f.finishRow(tableActivity))
	return a
}

func (r *tableReader) isAlive(id lock.Incarnation) bool {
	s, ok := r.readServer(id)
	return ok && s.Alive
}

// gameServerTable holds the incarnations, alive or ended, with their names, nonces and activity.
type gameServerTable struct {
	*tableWriter
	policies *policyTable
	audits   *auditTable
}

// updateCounts changes what an incarnation's row counts of one of its grants.
func (t *gameServerTable) updateCounts(id lock.Incarnation, from, to grantCounts, store, key string, token lock.Token) {
	if id == 0 || from == to || !t.hasRow(serverKey(tableActivity, id)) {
		return // also of an incarnation that is forgotten already
	}
	a := t.readActivity(id)
	a.Owned += to.owned - from.owned
	a.Sessions += to.held - from.held
	a.Contested += to.contested - from.contested
	if from.held != to.held {
		a.Held = lock.HeldHash(a.Held, store, key, token)
	}
	t.putRow(serverKey(tableActivity, id), a.encode())
}

func (t *gameServerTable) registerServer(c *Register) Result {
	if c.Name == "" || len(c.Name) > MaxName || !utf8.ValidString(c.Name) || len(c.Nonce) != NonceBytes || c.Kind > kindTool ||
		len(c.Where) > MaxWhere || len(c.Ping) > MaxWhere || len(c.Peer) > MaxWhere {
		return Result{Code: Invalid}
	}
	if len(c.Cluster) > 0 && !bytes.Equal(c.Cluster, t.position.Cluster) || c.Epoch != 0 && c.Epoch != t.position.Epoch {
		return Result{Code: OtherCluster}
	}
	nonce := append([]byte{tableNonce}, c.Nonce...)
	if row, ok := t.getRow(nonce); ok {
		f := newRowReader(row)
		id := lock.Incarnation(f.readUint())
		t.noteError(f.finishRow(tableNonce))
		if !t.isAlive(id) {
			return Result{Code: ServerGone, Repeated: true, Token: lock.Token(id)}
		}
		return Result{Repeated: true, Token: lock.Token(id)}
	}
	class, ok := t.readClass(c.TimingClass)
	if !ok {
		return Result{Code: UnknownClass}
	}
	name := appendText([]byte{tableName}, c.Name)
	replaced, replaces := t.replacedServer(c)
	if holder, ok := t.nameHolder(name); ok && !(replaces && holder == replaced.Incarnation) {
		held, _ := t.readServer(holder)
		return Result{Code: NameHeld, Owner: holder, Limit: uint64(held.Class.Lease.Milliseconds())}
	}

	if limit := t.policies.policyValueOf("", PolicyMaxServers); limit > 0 {
		if c.Kind == kindTool {
			limit += livingToolsBeyond
		}
		if t.countMembers(livingList) >= uint64(limit) {
			return Result{Code: TooManyServers, Limit: uint64(limit)}
		}
	}
	id := lock.Incarnation(t.token)
	if replaces {
		t.deleteRow(appendText([]byte{tableName}, replaced.Name))
		replaced.Successor = id
		t.putRow(serverKey(tableServer, replaced.Incarnation), replaced.encode())
	}
	w := newRowWriter(10)
	w.writeUint(uint64(id))
	t.putRow(name, w)
	t.putRow(nonce, w)
	t.putRow(serverKey(tableServer, id), Server{
		Name: c.Name, Where: c.Where, Ping: c.Ping, Peer: c.Peer, Tool: c.Kind == kindTool, Alive: true,
		SinceMS: t.position.StampMS, Nonce: c.Nonce, Class: class,
	}.encode())
	t.putRow(serverKey(tableActivity, id), Activity{Last: t.token}.encode())
	t.addMember(livingList, serverKey(tableLiving, id))
	return Result{Token: t.token}
}

// livingToolsBeyond is how many living incarnations more a tool may find, so that an operator can still act, and raise the limit.
const livingToolsBeyond = 100

// replacedServer returns the living incarnation that a registration replaces, if it replaces one. The registration must
// show that it comes from the process that registered that incarnation. The incarnation does not end here: a copy of that
// process knows the same secret, and a process that was confirmed a moment ago may still use its sessions.
func (r *tableReader) replacedServer(c *Register) (Server, bool) {
	if c.Replaces == 0 || c.ReplacedRegistration == 0 || len(c.Cluster) == 0 {
		return Server{}, false
	}
	s, ok := r.readServer(lock.Incarnation(c.Replaces))
	return s, ok && s.Alive && s.Successor == 0 && lock.Registration(s.Nonce) == c.ReplacedRegistration
}

func (r *tableReader) nameHolder(name []byte) (lock.Incarnation, bool) {
	row, ok := r.getRow(name)
	if !ok {
		return 0, false
	}
	f := newRowReader(row)
	id := lock.Incarnation(f.readUint())
	r.noteError(f.finishRow(tableName))
	return id, true
}

// endIncarnation ends an incarnation: it writes one row, however many profiles it owned. Its grants are out of force from
// this command on because it is not alive; their waiters are served by grantToWaiters, or by the next command on the profile.
// settled says that no answer to it is awaited but the one to its own end.
func (t *gameServerTable) endIncarnation(id lock.Incarnation, ground lock.Ground, settled bool) {
	s, ok := t.readServer(id)
	if !ok || !s.Alive {
		return
	}
	s.Alive, s.EndedMS, s.Ground = false, t.position.StampMS, ground
	t.putRow(serverKey(tableServer, id), s.encode())
	t.removeMember(livingList, serverKey(tableLiving, id))
	if s.Successor == 0 { // else it has lost its name already, and another one may have it
		t.deleteRow(appendText([]byte{tableName}, s.Name))
	}
	a, parts := t.readActivity(id), t.hasRow(serverKey(tablePartBytes, id))
	left := somethingLeft
	if settled && a.Owned == 0 && a.Answers == 0 && !parts {
		left = nothingLeft
	}
	t.putRow(endedKey(left, t.readMinute(), id), newRowWriter(0))
	t.dropOwnedRows(id, a.Owned)
	if parts {
		t.sweepPrefix(serverKey(tablePart, id))
		t.deleteRow(serverKey(tablePartBytes, id))
	}
	t.addEvent(Event{Kind: ServerEnded, Server: id, Contested: a.Contested > 0})
	if ground != lock.Goodbye {
		t.audits.addAudit(AuditEndServer, 0, id, Audit{Ground: ground, Cause: lock.Expired})
	}
}

// deletesBeforeSweep is the greatest count of rows that are deleted one by one. Each range that is deleted makes later reads
// slower until it is compacted.
const deletesBeforeSweep = 64

// dropOwnedRows deletes the rows that list the grants of an ended incarnation, of which there are so many.
func (t *gameServerTable) dropOwnedRows(id lock.Incarnation, count int) {
	prefix := serverKey(tableOwned, id)
	if count > deletesBeforeSweep {
		t.sweepPrefix(prefix)
		t.sweepPrefix(serverKey(tableOwnedInbox, id))
		return
	}
	var keys [][]byte
	if count > 0 {
		t.scanRows(prefix, keyAfterPrefix(prefix), func(key, _ []byte) bool {
			keys = append(keys, bytes.Clone(key))
			return len(keys) < count
		})
	}
	for _, key := range keys {
		t.deleteRow(key)
		key[0] = tableOwnedInbox
		if t.hasRow(key) {
			t.deleteRow(key)
		}
	}
}

// expireServers ends incarnations that the failure detector gave up, each only if it has applied no command since.
func (t *gameServerTable) expireServers(c *ExpireServers) Result {
	if len(c.Expiries) > MaxExpiries {
		return Result{Code: Invalid}
	}
	if c.Term != t.term {
		return Result{Code: Superseded}
	}
	done := Result{Code: Superseded}
	for _, v := range c.Expiries {
		id := lock.Incarnation(v.Incarnation)
		if t.isAlive(id) && t.readActivity(id).Last == lock.Token(v.Last) {
			t.endIncarnation(id, lock.Ground(v.Ground), true)
			done.Code = OK
		}
	}
	return done
}
