package fsm

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/profilenode/profilenode/lock"
)

// AuditRing is one of the two rings of the audit. Game servers cannot push out what operators did, however much they do.
type AuditRing uint8

const (
	OperatorsRing   AuditRing = 1 // acts of operators' tools, and of the cluster on itself
	GameServersRing AuditRing = 2 // acts of game servers, and of the cluster on them
	auditRings                = 2
)

// AuditKind is the kind of action that an audit records. Its numbers are stored: they are never reused.
type AuditKind uint8

const (
	AuditSteal        AuditKind = 1 // a game server wanted the profile at once
	AuditAskOwner     AuditKind = 2 // an operator asked its owner to let go
	AuditForceRelease AuditKind = 3 // an operator released it by force
	AuditSet          AuditKind = 4 // it was written without a session; with From and Cause, taken from its owner by force
	AuditRemove       AuditKind = 5 // it was removed; From and Cause as with AuditSet
	AuditLate         AuditKind = 6 // its owner did not let go in time, and was revoked
	AuditEndServer    AuditKind = 7 // an incarnation expired, or was found in two processes
	AuditGiveUp       AuditKind = 8 // its owner gave it up without its game's request: Cause says why
	AuditKeptSave     AuditKind = 9 // its owner saved the copy that it had kept when its session ended at the limit for doubt

	// Of no profile. Reason names the changed thing, and its new value.
	AuditClearAlarm     AuditKind = 20 // an operator cleared an alarm
	AuditExpectNode     AuditKind = 21 // an operator let a node join
	AuditSetPolicy      AuditKind = 22 // an operator set a policy, or gave one back to the default
	AuditSetTimingClass AuditKind = 23 // an operator set a timing class
	AuditRaiseLevel     AuditKind = 24 // the cluster raised its level
	AuditSetNode        AuditKind = 25 // a node came, or has other addresses
	AuditRemoveNode     AuditKind = 26 // a node is no member any more

	AuditDropMessage AuditKind = 30 // a message to a profile that was never saved was dropped for its age
)

var auditKindNames = map[AuditKind]string{
	AuditSteal: "steal", AuditAskOwner: "ask", AuditForceRelease: "release", AuditSet: "set", AuditRemove: "remove",
	AuditLate: "late", AuditEndServer: "end", AuditGiveUp: "give-up", AuditKeptSave: "kept-save",
	AuditClearAlarm: "clear alarm", AuditExpectNode: "expect node", AuditSetPolicy: "policy", AuditSetTimingClass: "timing",
	AuditRaiseLevel: "level", AuditSetNode: "node", AuditRemoveNode: "remove node", AuditDropMessage: "drop message",
}

func (k AuditKind) String() string {
	if name := auditKindNames[k]; name != "" {
		return name
	}
	return "unknown"
}

// ringOf returns the ring for an action of this kind by an incarnation, or by the cluster if that is 0.
func (r *tableReader) ringOf(kind AuditKind, by lock.Incarnation) AuditRing {
	if by == 0 {
		switch kind {
		case AuditRaiseLevel, AuditSetNode, AuditRemoveNode, AuditDropMessage:
			return OperatorsRing
		}
		return GameServersRing
	}
	if s, _ := r.readServer(by); s.Tool {
		return OperatorsRing
	}
	return GameServersRing
}

// Audit records one action of an operator, a game server or the cluster. It holds the names of that time, since incarnations
// are forgotten before audits.
type Audit struct {
	Ring       AuditRing
	Number     uint64 // from 1, rises by one over both rings
	StampMS    int64
	Token      lock.Token // of the command that did it
	Kind       AuditKind
	Store, Key string // empty if it was done to no profile
	By, From   Party  // zero is the cluster itself
	Ground     lock.Ground
	Cause      lock.Cause // of the session's end, of all its sessions with AuditEndServer; NoCause with AuditAskOwner
	Reason     string
	Revision   uint64 // of the profile after a set, a remove or a kept save
	Dropped    uint64 // messages that a remove dropped
}

// Party is an incarnation, its name and the place that it stated.
type Party struct {
	Incarnation lock.Incarnation
	Name, Where string
}

func (w *rowWriter) writeParty(p Party) {
	w.writeUint(uint64(p.Incarnation))
	w.writeString(p.Name)
	w.writeString(p.Where)
}

func (r *rowReader) readParty() Party {
	return Party{lock.Incarnation(r.readUint()), r.readString(), r.readString()}
}

func (r *tableReader) readPartyOf(id lock.Incarnation) Party {
	s, _ := r.readServer(id)
	return Party{id, s.Name, s.Where}
}

func (a Audit) encode() []byte {
	w := newRowWriter(64 + len(a.Store) + len(a.Key) + len(a.By.Name) + len(a.By.Where) + len(a.From.Name) + len(a.From.Where) + len(a.Reason))
	w.writeUint(a.Number)
	w.writeInt(a.StampMS)
	w.writeUint(uint64(a.Token))
	w.writeUint(uint64(a.Kind))
	w.writeString(a.Store)
	w.writeString(a.Key)
	w.writeParty(a.By)
	w.writeParty(a.From)
	w.writeUint(uint64(a.Ground))
	w.writeUint(uint64(a.Cause))
	w.writeString(a.Reason)
	w.writeUint(a.Revision)
	w.writeUint(a.Dropped)
	return w
}

func decodeAudit(ring AuditRing, row []byte) (Audit, error) {
	f := newRowReader(row)
	a := Audit{
		Ring: ring, Number: f.readUint(), StampMS: f.readInt(), Token: lock.Token(f.readUint()), Kind: AuditKind(f.readUint()),
		Store: f.readString(), Key: f.readString(), By: f.readParty(), From: f.readParty(),
		Ground: lock.Ground(f.readUint()), Cause: lock.Cause(f.readUint()), Reason: f.readString(),
		Revision: f.readUint(), Dropped: f.readUint(),
	}
	return a, f.finishRow(tableAudit)
}

// auditBook says which audits are kept: the number of the next one, and of each ring the range of its places,
// [oldest, next).
type auditBook struct {
	number uint64
	places [auditRings]struct{ oldest, next uint64 }
}

func (r *tableReader) readAuditBook() auditBook {
	row, ok := r.getRow([]byte{tableAuditBook})
	if !ok {
		return auditBook{number: 1}
	}
	f := newRowReader(row)
	book := auditBook{number: f.readUint()}
	for i := range book.places {
		book.places[i].oldest, book.places[i].next = f.readUint(), f.readUint()
	}
	r.noteError(f.finishRow(tableAuditBook))
	return book
}

func (b auditBook) encode() []byte {
	w := newRowWriter(40)
	w.writeUint(b.number)
	for _, p := range b.places {
		w.writeUint(p.oldest)
		w.writeUint(p.next)
	}
	return w
}

func auditKey(ring AuditRing, place uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableAudit, byte(ring)}, place)
}

func (r *tableReader) readAudit(ring AuditRing, place uint64) Audit {
	row, _ := r.getRow(auditKey(ring, place))
	a, err := decodeAudit(ring, row)
	r.noteError(err)
	return a
}

// dropAtOnce is how many audits of a ring a command drops at most because of their age.
const dropAtOnce = 4

// auditTable holds the audits in two rings, of each the newest MaxAudits that are not older than MaxAuditAge.
type auditTable struct {
	*tableWriter
	dropped lock.Token // the last command that looked for audits that are too old
}

// addAudit records an action of the command at hand, and drops the oldest of a full ring. Once a command it drops a few that
// are too old: a reader passes over the others. So a command that ends a thousand game servers costs little more, and a
// clock that was wrong does not empty a ring.
func (t *auditTable) addAudit(kind AuditKind, by, from lock.Incarnation, a Audit) {
	book := t.readAuditBook()
	a.Ring, a.Number, a.Kind, a.StampMS, a.Token = t.ringOf(kind, by), book.number, kind, t.position.StampMS, t.token
	a.By, a.From = t.readPartyOf(by), t.readPartyOf(from)
	book.number++
	own := &book.places[a.Ring-1]
	t.putRow(auditKey(a.Ring, own.next), a.encode())
	own.next++
	if own.next-own.oldest > MaxAudits {
		t.deleteRow(auditKey(a.Ring, own.oldest))
		own.oldest++
	}
	if t.dropped != t.token {
		t.dropped = t.token
		t.dropOldAudits(&book)
	}
	t.putRow([]byte{tableAuditBook}, book.encode())
}

func (t *auditTable) dropOldAudits(book *auditBook) {
	tooOld := t.position.StampMS - MaxAuditAge.Milliseconds()
	for i := range book.places {
		ring, p := AuditRing(i+1), &book.places[i]
		for n := 0; n < dropAtOnce && p.oldest < p.next && t.readAudit(ring, p.oldest).StampMS < tooOld; n++ {
			t.deleteRow(auditKey(ring, p.oldest))
			p.oldest++
		}
	}
}

// addGiveUp records that an owner ended its session, for the cause that the grant states, if it did so without its game's
// request.
func (t *auditTable) addGiveUp(store, key string, ended GrantRow) {
	if ended.Cause.GivesUp() {
		t.addAudit(AuditGiveUp, 0, ended.Owner, Audit{Store: store, Key: key, Cause: ended.Cause})
	}
}

// AuditFilter chooses among audits.
type AuditFilter struct {
	Ring       AuditRing // 0: both
	Store, Key string    // empty: every one
	SinceMS    int64     // not older
	Before     uint64    // numbers below this one; 0: all
}

// auditCursor walks a ring from its newest audit to its oldest.
type auditCursor struct {
	ring          AuditRing
	oldest, place uint64 // places still to be read: [oldest, place)
	head          Audit  // the newest one that the filter lets through and that was not taken; Number is 0 if there is none
}

func (c *auditCursor) advance(r *tableReader, f AuditFilter) {
	c.head = Audit{}
	for c.place > c.oldest && r.err == nil {
		c.place--
		a := r.readAudit(c.ring, c.place)
		if a.StampMS < f.SinceMS {
			c.place = c.oldest // timestamps never go back
			return
		}
		if (f.Store == "" || a.Store == f.Store) && (f.Key == "" || a.Key == f.Key) {
			c.head = a
			return
		}
	}
}

// Audit lists the newest audits that a filter lets through, in the order of their numbers, the newest last; more says that
// there are older ones.
func (v *View) Audit(f AuditFilter, limit int) (list []Audit, more bool, err error) {
	r := v.tableReader()
	book := r.readAuditBook()
	f.SinceMS = max(f.SinceMS, v.Position().StampMS-MaxAuditAge.Milliseconds())
	var cursors []*auditCursor
	for i, p := range book.places {
		c := &auditCursor{ring: AuditRing(i + 1), oldest: p.oldest, place: p.next}
		if f.Ring != 0 && f.Ring != c.ring {
			continue
		}
		if f.Before > 0 { // numbers rise with places
			c.place = p.oldest + uint64(sort.Search(int(p.next-p.oldest), func(i int) bool {
				return r.readAudit(c.ring, p.oldest+uint64(i)).Number >= f.Before
			}))
		}
		c.advance(r, f)
		cursors = append(cursors, c)
	}
	for r.err == nil {
		newest := cursors[0]
		for _, c := range cursors[1:] {
			if c.head.Number > newest.head.Number {
				newest = c
			}
		}
		if newest.head.Number == 0 {
			break
		}
		if more = len(list) == limit; more {
			break
		}
		list = append(list, newest.head)
		newest.advance(r, f)
	}
	slices.Reverse(list)
	return list, more, r.err
}
