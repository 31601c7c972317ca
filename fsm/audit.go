package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// Deed is what an audit tells of.
type Deed uint8

const (
	DeedSteal  Deed = 1 // a game server wanted the profile at once
	DeedAsk    Deed = 2 // an operator asked its owner to let go
	DeedFree   Deed = 3 // an operator took it from its owner
	DeedSet    Deed = 4 // somebody overwrote it, whoever owned it
	DeedRemove Deed = 5 // and removed it
	DeedLate   Deed = 6 // its owner did not let go in time, and was revoked
	DeedEnd    Deed = 7 // a verdict ended an incarnation, or it was found in two processes
	DeedGiveUp Deed = 8 // its owner gave it up without its game's doing: Cause says why

	DeedClearAlarm Deed = 20 // an operator cleared an alarm; Reason is its code
	DeedExpectNode Deed = 21 // an operator let a node join; Reason is its address
)

func (d Deed) String() string {
	switch d {
	case DeedSteal:
		return "steal"
	case DeedAsk:
		return "ask"
	case DeedFree:
		return "free"
	case DeedSet:
		return "set"
	case DeedRemove:
		return "remove"
	case DeedLate:
		return "late"
	case DeedEnd:
		return "end"
	case DeedClearAlarm:
		return "clear alarm"
	case DeedExpectNode:
		return "expect node"
	case DeedGiveUp:
		return "give-up"
	}
	return "unknown"
}

// Audit is one thing that was done to somebody who may ask about it later. Names are as they were, since incarnations are
// forgotten before.
type Audit struct {
	Number     uint64 // from 1, rises by one
	StampMS    int64
	Token      lock.Token // of the command that did it
	Deed       Deed
	Store, Key string // empty if it was done to no profile
	By, From   Party  // nobody is the cluster itself
	Ground     lock.Ground
	Cause      lock.Cause // of the session's end, of all its sessions with DeedEnd; NoCause with DeedAsk
	Reason     string
}

// Party is an incarnation, its name and where it said that it is; zero is nobody.
type Party struct {
	Incarnation lock.Incarnation
	Name, Where string
}

func (a Audit) encode() []byte {
	w := newRow(64 + len(a.Store) + len(a.Key) + len(a.By.Name) + len(a.By.Where) + len(a.From.Name) + len(a.From.Where) + len(a.Reason))
	w.int(a.StampMS)
	w.uint(uint64(a.Token))
	w.uint(uint64(a.Deed))
	w.string(a.Store)
	w.string(a.Key)
	for _, p := range []Party{a.By, a.From} {
		w.uint(uint64(p.Incarnation))
		w.string(p.Name)
		w.string(p.Where)
	}
	w.uint(uint64(a.Ground))
	w.uint(uint64(a.Cause))
	w.string(a.Reason)
	return w
}

func decodeAudit(number uint64, row []byte) (Audit, error) {
	f := readRow(row)
	a := Audit{
		Number: number, StampMS: f.int(), Token: lock.Token(f.uint()), Deed: Deed(f.uint()), Store: f.string(), Key: f.string(),
		By:     Party{lock.Incarnation(f.uint()), f.string(), f.string()},
		From:   Party{lock.Incarnation(f.uint()), f.string(), f.string()},
		Ground: lock.Ground(f.uint()), Cause: lock.Cause(f.uint()), Reason: f.string(),
	}
	return a, f.done(tableAudit)
}

// audits are the numbers that are kept: [oldest, next).
type audits struct{ oldest, next uint64 }

func (r *reader) audits() audits {
	row, ok := r.get([]byte{tableAudits})
	if !ok {
		return audits{1, 1}
	}
	f := readRow(row)
	kept := audits{f.uint(), f.uint()}
	r.check(f.done(tableAudits))
	return kept
}

func auditKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{tableAudit}, number) }

// audit keeps what the command at hand did, and drops the oldest of too many.
func (t *tx) audit(deed Deed, by, from lock.Incarnation, a Audit) {
	a.Deed, a.StampMS, a.Token = deed, t.standing.StampMS, t.at
	a.By, a.From = t.party(by), t.party(from)
	kept := t.audits()
	t.put(auditKey(kept.next), a.encode())
	kept.next++
	if kept.next-kept.oldest > MaxAudits {
		t.delete(auditKey(kept.oldest))
		kept.oldest++
	}
	w := newRow(20)
	w.uint(kept.oldest)
	w.uint(kept.next)
	t.put([]byte{tableAudits}, w)
}

func (t *tx) party(id lock.Incarnation) Party {
	s, _ := t.server(id)
	return Party{id, s.Name, s.Where}
}

// AuditFilter chooses among audits.
type AuditFilter struct {
	Store, Key string // empty: every one
	SinceMS    int64  // not older
	Before     uint64 // numbers below this one; 0: all
}

// Audit lists the newest audits that a filter lets through, the newest last; more says that there are older ones.
func (v *View) Audit(f AuditFilter, limit int) (list []Audit, more bool, err error) {
	r := v.reader()
	kept := r.audits()
	if f.Before > 0 {
		kept.next = min(kept.next, f.Before)
	}
	for number := kept.next; number > kept.oldest && r.err == nil && !more; number-- {
		row, _ := r.get(auditKey(number - 1))
		a, err := decodeAudit(number-1, row)
		r.check(err)
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
