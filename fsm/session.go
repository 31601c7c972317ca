package fsm

import (
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// codeOfRefusal returns the code for a refusal of package lock.
func codeOfRefusal(r lock.Refusal) Code {
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

// sessionCommands carries out the commands that start, pass on and end sessions. It has no table of its own: the grants
// are in grantTable.
type sessionCommands struct {
	*tableWriter
	grants   *grantTable
	messages *messageTable
	policies *policyTable
	audits   *auditTable
}

func (t *sessionCommands) startSession(server lock.Incarnation, c *StartSession) Result {
	if !isValidName(c.Store, c.Key) || c.WhenOwned > uint32(lock.Steal) {
		return Result{Code: Invalid}
	}
	old := t.grants.readGrantPassedOn(c.Store, c.Key)
	limit := t.policies.policyValueOf(c.Store, PolicyMaxWaiters)
	grant, out := old.Start(server, t.token, lock.WhenOwned(c.WhenOwned), int(limit), t.isAlive)
	if out.Refusal != lock.None {
		return Result{Code: codeOfRefusal(out.Refusal), Owner: old.Owner, Limit: uint64(limit)}
	}
	if out.Queued && grant.Waiters[out.Place-1].SinceMS == 0 { // else it waited before
		grant.Waiters[out.Place-1].SinceMS = t.position.StampMS // a queue that Start has changed is its own
	}
	if out.Revoked {
		old.By = t.readPartyOf(server)
	}
	row := t.grants.storeDecision(c.Store, c.Key, old, grant, out)
	if out.Revoked || out.Stole { // a steal that only renews a place is done to nothing
		t.audits.addAudit(AuditSteal, server, row.Owner, Audit{Store: c.Store, Key: c.Key, Cause: lock.Stolen})
	}
	if out.Queued {
		return Result{Code: Queued, Token: t.token, Owner: row.Owner, Place: uint64(out.Place)}
	}
	return Result{Token: row.Token, Revision: t.readRecord(c.Store, c.Key).Revision, Loads: row.Loads}
}

func (t *sessionCommands) cancelWait(server lock.Incarnation, c *Cancel) Result {
	if !isValidName(c.Store, c.Key) {
		return Result{Code: Invalid}
	}
	old := t.readGrant(c.Store, c.Key) // not passed on: Cancel itself brings it up to date
	grant, out := old.Cancel(server, lock.Token(c.Ticket), t.token, t.isAlive)
	if out.Refusal != lock.None {
		t.grants.readGrantPassedOn(c.Store, c.Key)
		return Result{Code: codeOfRefusal(out.Refusal)}
	}
	t.grants.storeDecision(c.Store, c.Key, old, grant, out)
	return Result{}
}

func (t *sessionCommands) releaseGrant(server lock.Incarnation, c *Release) Result {
	if !isValidName(c.Store, c.Key) || !isCauseOfOwner(c.Cause) {
		return Result{Code: Invalid}
	}
	if len(c.Panics) > MaxCounted || slices.ContainsFunc(c.Panics, func(p *MessagePanic) bool { return len(p.GetText()) > MaxPanicText }) {
		return Result{Code: Invalid}
	}
	old := t.grants.readGrantPassedOn(c.Store, c.Key)
	grant, out := old.Release(server, lock.Token(c.Token), t.token, t.isAlive)
	if out.Refusal != lock.None {
		return Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}
	}
	t.messages.countPanics(c.Store, c.Key, c.Panics) // before the next owner is granted, which would be offered these messages again
	if !old.Revoked {                                // else the session had ended before, for that cause
		old.Cause = old.causeOfOwner(c.Cause)
		t.audits.addGiveUp(c.Store, c.Key, old)
	}
	done := Result{Token: lock.Token(c.Token), Revision: t.readRecord(c.Store, c.Key).Revision}
	if row := t.grants.storeDecision(c.Store, c.Key, old, grant, out); out.Granted {
		done.Owner = row.Owner
	}
	return done
}

// isCauseOfOwner says whether an owner may state this cause when it ends its session, with a Release or a Save.
func isCauseOfOwner(cause uint32) bool {
	return cause < uint32(lock.Causes) && lock.Cause(cause).OfOwner()
}

// causeOfOwner returns the cause of the end of a session for which its owner states a cause. An owner that an operator asked
// states none when it lets go: that an operator asked is in the grant.
func (g GrantRow) causeOfOwner(stated uint32) lock.Cause {
	if stated == 0 && g.Asked {
		return lock.ReleasedByOperator
	}
	return lock.Cause(stated)
}

func (t *sessionCommands) revokeGrant(c *Revoke) Result {
	old := t.grants.readGrantPassedOn(c.Store, c.Key)
	if c.Waited && !old.Wanted() {
		return Result{Code: Superseded, Token: old.Token}
	}
	grant, out := old.Revoke(lock.Token(c.Token), lock.Late, t.isAlive)
	if out.Refusal != lock.None {
		return Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}
	}
	t.grants.storeDecision(c.Store, c.Key, old, grant, out)
	t.audits.addAudit(AuditLate, 0, old.Owner, Audit{Store: c.Store, Key: c.Key, Cause: lock.Late})
	return Result{Token: old.Token, Owner: old.Owner}
}

func (t *sessionCommands) lapseGrant(c *Lapse) Result {
	if c.Term != t.term {
		return Result{Code: Superseded}
	}
	old := t.grants.readGrantPassedOn(c.Store, c.Key)
	grant, out := old.Lapse(lock.Token(c.Token), t.token, t.isAlive)
	if out.Refusal != lock.None {
		return Result{Code: codeOfRefusal(out.Refusal), Token: old.Token}
	}
	t.grants.storeDecision(c.Store, c.Key, old, grant, out)
	return Result{Token: old.Token}
}

// walkWaiters is the count of waiters after which a step of a walk ends: each of them is read and written again.
const walkWaiters = 4096

// grantToWaiters grants an ended incarnation's contested profiles to their waiters, at most Limit profiles in one command,
// and fewer if they have many waiters.
func (t *sessionCommands) grantToWaiters(c *GrantToWaiters) Result {
	server := lock.Incarnation(c.Incarnation)
	if t.isAlive(server) {
		return Result{Code: Superseded}
	}
	type profile struct{ store, key string }
	var next []profile
	more := false
	prefix := serverKey(tableContested, server)
	t.scanRows(prefix, keyAfterPrefix(prefix), func(key, _ []byte) bool {
		if len(next) == min(int(c.Limit), MaxStep) {
			more = true
			return false
		}
		store, name, _ := splitProfileKey(key[len(prefix):])
		next = append(next, profile{store, name})
		return true
	})
	granted := uint64(0)
	for waiters := 0; len(next) > 0; next = next[1:] {
		if waiters >= walkWaiters {
			return Result{More: true, Granted: granted}
		}
		p := next[0]
		waiters += len(t.readGrant(p.store, p.key).Waiters)
		if grant := t.grants.readGrantPassedOn(p.store, p.key); grant.Token == t.token {
			granted++
		}
	}
	return Result{More: more, Granted: granted}
}
