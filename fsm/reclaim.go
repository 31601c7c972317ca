package fsm

import "github.com/profilenode/profilenode/lock"

// reclaimGrants continues sessions after a false expiry of their owner. It skips a profile that was granted since, or has
// another revision than the session knows.
func (t *sessionCommands) reclaimGrants(server lock.Incarnation, c *Reclaim) Result {
	if len(c.Claims) == 0 || len(c.Claims) > MaxClaims {
		return Result{Code: Invalid}
	}
	for _, claim := range c.Claims {
		if !isValidName(claim.Store, claim.Key) {
			return Result{Code: Invalid}
		}
	}
	for _, claim := range c.Claims {
		old := t.grants.readGrantPassedOn(claim.Store, claim.Key)
		grant, out := old.Reclaim(server, lock.Token(claim.Token), t.token)
		if out.Refusal == lock.None && t.readRecord(claim.Store, claim.Key).Revision == claim.Revision {
			t.grants.storeDecision(claim.Store, claim.Key, old, grant, out)
		}
	}
	return Result{Token: t.token}
}
