package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// AuditKind is the kind of action that an audit records.
type AuditKind uint8

const (
	AuditSteal        AuditKind = 1 // a game server wanted the profile at once
	AuditAskOwner     AuditKind = 2 // an operator asked its owner to let go
	AuditForceRelease AuditKind = 3 // an operator released it by force
	AuditSet          AuditKind = 4 // an operator or a tool overwrote it by force
	AuditRemove       AuditKind = 5 // an operator or a tool removed it by force
	AuditLate         AuditKind = 6 // its owner did not let go in time, and was revoked
	AuditEndServer    AuditKind = 7 // an incarnation expired, or was found in two processes
	AuditGiveUp       AuditKind = 8 // its owner gave it up without its game's request: Cause says why

	AuditClearAlarm AuditKind = 20 // an operator cleared an alarm; Reason is its code
	AuditExpectNode AuditKind = 21 // an operator let a node join; Reason is its address
)

func (d AuditKind) String() string {
	switch d {
	case AuditSteal:
		return "steal"
	case AuditAskOwner:
		return "ask"
	case AuditForceRelease:
		return "release"
	case AuditSet:
		return "set"
	case AuditRemove:
		return "remove"
	case AuditLate:
		return "late"
	case AuditEndServer:
		return "end"
	case AuditClearAlarm:
		return "clear alarm"
	case AuditExpectNode:
		return "expect node"
	case AuditGiveUp:
		return "give-up"
	}
	return "unknown"
}

// Audit records one action against a game server or a profile. It holds the names of that time, since incarnations are
// forgotten before audits.
type Audit struct {
	Number     uint64 // from 1, rises by one
	StampMS    int64
	Token      lock.Token // of the command that did it
	Kind       AuditKind
	Store, Key string // empty if it was done to no profile
	By, From   Party  // zero is the cluster itself
	Ground     lock.Ground
	Cause      lock.Cause // of the session's end, of all its sessions with AuditEndServer; NoCause with AuditAskOwner
	Reason     string
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
	return w
}

func decodeAudit(number uint64, row []byte) (Audit, error) {
	f := newRowReader(row)
	a := Audit{
		Number: number, StampMS: f.readInt(), Token: lock.Token(f.readUint()), Kind: AuditKind(f.readUint()), Store: f.readString(), Key: f.readString(),
		By: f.readParty(), From: f.readParty(),
		Ground: lock.Ground(f.readUint()), Cause: lock.Cause(f.readUint()), Reason: f.readString(),
	}
	return a, f.finishRow(tableAudit)
}

// auditRange is the range of the kept audits' numbers: [oldest, next).
type auditRange struct{ oldest, next uint64 }

func (r *tableReader) readAuditRange() auditRange {
	row, ok := r.getRow([]byte{tableAuditRange})
	if !ok {
		return auditRange{1, 1}
	}
	f := newRowReader(row)
	kept := auditRange{f.readUint(), f.readUint()}
	r.noteError(f.finishRow(tableAuditRange))
	return kept
}

func auditKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{tableAudit}, number) }

// auditTable holds the newest MaxAudits audits.
type auditTable struct{ *tableWriter }

// addAudit records an action of the command at hand, and drops the oldest audit beyond MaxAudits.
func (t *auditTable) addAudit(kind AuditKind, by, from lock.Incarnation, a Audit) {
	a.Kind, a.StampMS, a.Token = kind, t.position.StampMS, t.token
	a.By, a.From = t.readPartyOf(by), t.readPartyOf(from)
	kept := t.readAuditRange()
	t.putRow(auditKey(kept.next), a.encode())
	kept.next++
	if kept.next-kept.oldest > MaxAudits {
		t.deleteRow(auditKey(kept.oldest))
		kept.oldest++
	}
	w := newRowWriter(20)
	w.writeUint(kept.oldest)
	w.writeUint(kept.next)
	t.putRow([]byte{tableAuditRange}, w)
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
	Store, Key string // empty: every one
	SinceMS    int64  // not older
	Before     uint64 // numbers below this one; 0: all
}

// Audit lists the newest audits that a filter lets through, the newest last; more says that there are older ones.
func (v *View) Audit(f AuditFilter, limit int) (list []Audit, more bool, err error) {
	r := v.tableReader()
	kept := r.readAuditRange()
	if f.Before > 0 {
		kept.next = min(kept.next, f.Before)
	}
	for number := kept.next; number > kept.oldest && r.err == nil && !more; number-- {
		row, _ := r.getRow(auditKey(number - 1))
		a, err := decodeAudit(number-1, row)
		r.noteError(err)
		if a.StampMS < f.SinceMS {
			break // stamps never go back
		}
		if f.Store != "" && a.Store != f.Store || f.Key != "" && a.Key != f.Key {
			continue
		}
		if more = len(list) == limit; !more {
			list = append(list, a)
		}
	}
	slices.Reverse(list)
	return list, more, r.err
}
