package fsm

import (
	"unicode/utf8"

	"github.com/profilenode/profilenode/lock"
)

// releaseByOperator asks the owner to let go, or with Force revokes its grant. A grant that is already revoked stays as it
// is.
func (t *sessionCommands) releaseByOperator(server lock.Incarnation, c *ReleaseByOperator) Result {
	if !isValidName(c.Store, c.Key) || len(c.Reason) > MaxReason || !utf8.ValidString(c.Reason) {
		return Result{Code: Invalid}
	}
	old := t.grants.readGrantPassedOn(c.Store, c.Key)
	revision := t.readRecord(c.Store, c.Key).Revision
	switch {
	case old.Token == 0 && revision == 0:
		return Result{Code: NoProfile}
	case old.Owner == 0:
		return Result{Code: NotOwned, Token: old.Token, Revision: revision}
	}
	done := Result{Token: old.Token, Owner: old.Owner, Revision: revision}
	if old.Token != lock.Token(c.Token) {
		done.Code = Superseded
		return done
	}
	if old.Revoked {
		return done
	}
	grant, out := old.Ask(old.Token, t.isAlive)
	kind, cause := AuditAskOwner, lock.NoCause // it has not ended yet
	if c.Force {
		grant, out = old.Revoke(old.Token, lock.ReleasedByOperator, t.isAlive)
		kind, cause = AuditForceRelease, lock.ReleasedByOperator
	}
	old.By = t.readPartyOf(server)
	t.grants.storeDecision(c.Store, c.Key, old, grant, out)
	t.audits.addAudit(kind, server, old.Owner, Audit{Store: c.Store, Key: c.Key, Cause: cause, Reason: c.Reason})
	return done
}
