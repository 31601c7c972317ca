package client

import "github.com/profilenode/profilenode/api/profilev1"

// Done is closed when this client has ended: by Close, or for good, because the cluster that it belonged to exists no more.
// Err says which. A client that has ended starts no sessions; Close still frees its resources.
func (c *Client) Done() <-chan struct{} { return c.life.done }

// Err is why this client has ended: ErrClosed after Close, else an *Error with a code for the state of the cluster. It is
// nil while Done is open.
func (c *Client) Err() error { return c.life.reason() }

// endForGood ends the client, all its sessions and everything that runs for it, because no try can ever succeed again. The
// sessions are not released: the cluster that granted them is gone. It does nothing to a client that has ended or is being
// closed. It must not be called while a lock is held.
func (c *Client) endForGood(why error) {
	if !c.life.endForGood(why) {
		return
	}
	l := c.keeper.giveUpReclaims()
	c.config.Log.Error("this game server's client has ended for good: restart the game server", "why", why)
	reason := endForGoodReason(why)
	for _, s := range c.sessions.allSessions() {
		end := endError(s.ref, reason, nil, why)
		s.finishSession(end)
		s.giveUpKeptCopy(end)
		s.stop(nil)
		s.freeKey()
	}
	if l != nil {
		c.keeper.endIncarnation(l, why)
	}
	c.life.stopBackground()
}

// endForGoodReason is how the sessions of a client end that ends for good.
func endForGoodReason(why error) EndReason {
	switch reasonOf(why) {
	case profilev1.Reason_REASON_ROLLED_BACK:
		return EndRolledBack
	case profilev1.Reason_REASON_OTHER_CLUSTER:
		return EndOtherCluster
	}
	reason, _ := endedBy(why)
	return reason
}
