package fsm

import (
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// refused is a refusal of the law as a code.
func refused(r lock.Refusal) Code {
	switch r {
	case lock.Fenced:
		return Fenced
	case lock.Owned:
		return Owned
	case lock.QueueFull:
		return QueueFull
	case lock.NotWaiting:
		return NotWaiting
	case lock.Superseded:
		return Superseded
	}
	return OK
}

func (t *tx) startSession(server lock.Incarnation, c *StartSession) Result {
	if !wellFormed(c.Store, c.Key) || c.WhenOwned > uint32(lock.Steal) {
		return Result{Code: Invalid}
	}
	old := t.touch(c.Store, c.Key)
	limit := t.policy(c.Store, PolicyMaxWaiters)
	grant, out := old.Start(server, t.at, lock.WhenOwned(c.WhenOwned), int(limit), t.alive)
	if out.Refusal != lock.None {
		return Result{Code: refused(out.Refusal), Owner: old.Owner, Limit: uint64(limit)}
	}
	place := uint64(0)
	for i, w := range grant.Waiters {
		if out.Queued && w.Ticket == t.at {
			place = uint64(i + 1)
			grant.Waiters[i].SinceMS = t.standing.StampMS // a queue that Start has changed is its own
		}
	}
	row := t.decide(c.Store, c.Key, old, grant, out)
	if out.Queued && lock.WhenOwned(c.WhenOwned) == lock.Steal {
		t.audit(DeedSteal, server, row.Owner, Audit{Store: c.Store, Key: c.Key, Cause: lock.Stolen})
	}
	if out.Queued {
		return Result{Code: Queued, Token: t.at, Owner: row.Owner, Place: place}
	}
	return Result{Token: row.Token, Revision: t.record(c.Store, c.Key).Revision, Loads: row.Loads}
}

func (t *tx) cancel(server lock.Incarnation, c *Cancel) Result {
	if !wellFormed(c.Store, c.Key) {
		return Result{Code: Invalid}
	}
	old := t.grant(c.Store, c.Key) // not touched: Cancel itself brings it up to date
	grant, out := old.Cancel(server, lock.Token(c.Ticket), t.at, t.alive)
	if out.Refusal != lock.None {
		t.touch(c.Store, c.Key)
		return Result{Code: refused(out.Refusal)}
	}
	t.decide(c.Store, c.Key, old, grant, out)
	return Result{}
}

func (t *tx) release(server lock.Incarnation, c *Release) Result {
	cause := lock.Cause(c.Cause)
	if !wellFormed(c.Store, c.Key) || c.Cause >= uint32(lock.Causes) || !cause.OfOwner() {
		return Result{Code: Invalid}
	}
	if len(c.Panics) > MaxCounted || slices.ContainsFunc(c.Panics, func(p *MessagePanic) bool { return len(p.GetText()) > MaxPanicText }) {
		return Result{Code: Invalid}
	}
	old := t.touch(c.Store, c.Key)
	grant, out := old.Release(server, lock.Token(c.Token), t.at, t.alive)
	if out.Refusal != lock.None {
		return Result{Code: refused(out.Refusal), Token: old.Token}
	}
	t.countPanics(c.Store, c.Key, c.Panics) // before the next owner is granted, who would be given these messages again
	if !old.Revoked {                       // else the session had ended before, for that cause
		old.Cause = cause
		if cause.GivesUp() {
			t.audit(DeedGiveUp, 0, old.Owner, Audit{Store: c.Store, Key: c.Key, Cause: cause})
		}
	}
	t.decide(c.Store, c.Key, old, grant, out)
	return Result{Token: lock.Token(c.Token), Revision: t.record(c.Store, c.Key).Revision}
}

func (t *tx) revoke(c *Revoke) Result {
	old := t.touch(c.Store, c.Key)
	if c.Waited && !old.Wanted() {
		return Result{Code: Superseded, Token: old.Token}
	}
	grant, out := old.Revoke(lock.Token(c.Token), lock.Late, t.alive)
	if out.Refusal != lock.None {
		return Result{Code: refused(out.Refusal), Token: old.Token}
	}
	t.decide(c.Store, c.Key, old, grant, out)
	t.audit(DeedLate, 0, old.Owner, Audit{Store: c.Store, Key: c.Key, Cause: lock.Late})
	return Result{Token: old.Token, Owner: old.Owner}
}

func (t *tx) lapse(c *Lapse) Result {
	if c.Term != t.term {
		return Result{Code: Superseded}
	}
	old := t.touch(c.Store, c.Key)
	grant, out := old.Lapse(lock.Token(c.Token), t.at, t.alive)
	if out.Refusal != lock.None {
		return Result{Code: refused(out.Refusal), Token: old.Token}
	}
	t.decide(c.Store, c.Key, old, grant, out)
	return Result{Token: old.Token}
}

// walkWaiters is after how many waiters a step of a walk ends: each is looked up, and written again.
const walkWaiters = 4096

// walk grants a gone incarnation's contested profiles to their waiters, limit at a time, fewer where many wait.
func (t *tx) walk(c *Walk) Result {
	server := lock.Incarnation(c.Incarnation)
	if t.alive(server) {
		return Result{Code: Superseded}
	}
	type profile struct{ store, key string }
	var next []profile
	more := false
	prefix := serverKey(tableContested, server)
	t.scan(prefix, after(prefix), func(key, _ []byte) bool {
		if len(next) == min(int(c.Limit), MaxStep) {
			more = true
			return false
		}
		store, name, _ := splitProfile(key[len(prefix):])
		next = append(next, profile{store, name})
		return true
	})
	granted := uint64(0)
	for waiters := 0; len(next) > 0; next = next[1:] {
		if waiters >= walkWaiters {
			return Result{More: true, Granted: granted}
		}
		p := next[0]
		waiters += len(t.grant(p.store, p.key).Waiters)
		if grant := t.touch(p.store, p.key); grant.Token == t.at {
			granted++
		}
	}
	return Result{More: more, Granted: granted}
}
