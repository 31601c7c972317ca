package client

import (
	"errors"
	"sync"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// claimsAtOnce is how many sessions one request reclaims; the log takes no more.
const claimsAtOnce = 256

// claimsWait is how long a request waits for more claims.
const claimsWait = 5 * time.Millisecond

// reclaimedGrant is a session on its way from an incarnation that was ended to the present one.
type reclaimedGrant struct {
	s        *session
	token    uint64
	revision uint64
	done     chan struct{} // closed when it is answered; the rest is written before
	anew     uint64        // its new token; 0: it was not reclaimed
	owner    *profilev1.Owner
	err      error
}

// reclaimSessions continues the sessions of incarnations that ended while this process lives: they are granted again, to the
// present incarnation, if their profiles have had no other owner and no write since. Those that cannot be reclaimed are
// over. If this incarnation ends on the way, the rest waits for the next one.
func (k *leaseKeeper) reclaimSessions(l *incarnation) {
	c := k.c
	before := c.counters.reclaimed.Load()
	claims := make(chan *reclaimedGrant)
	all := make(chan struct{})
	var each sync.WaitGroup
	for _, s := range k.sessionsToReclaim() {
		each.Go(func() { s.grant.reclaimGrant(l, claims) })
	}
	go func() {
		each.Wait()
		close(all)
	}()
	for {
		select {
		case first := <-claims:
			batch := []*reclaimedGrant{first}
			full := time.NewTimer(claimsWait)
			for more := true; more && len(batch) < claimsAtOnce; {
				select {
				case next := <-claims:
					batch = append(batch, next)
				case <-full.C:
					more = false
				}
			}
			full.Stop()
			k.reclaimBatch(l, batch)
		case <-all:
			c.config.Log.Info("went on after a false expiry", "incarnation", l.id, "sessions", c.counters.reclaimed.Load()-before)
			return
		}
	}
}

// sessionsToReclaim returns the sessions that go on although their incarnation has ended.
func (k *leaseKeeper) sessionsToReclaim() []*session {
	k.mu.Lock()
	defer k.mu.Unlock()
	var sessions []*session
	for _, l := range k.past {
		sessions = append(sessions, l.listSessions()...)
	}
	return sessions
}

// reclaimBatch asks for some sessions in one request.
func (k *leaseKeeper) reclaimBatch(l *incarnation, batch []*reclaimedGrant) {
	c := k.c
	request := &profilev1.ReclaimRequest{}
	for _, cl := range batch {
		request.Claims = append(request.Claims, &profilev1.Claim{
			Store: cl.s.ref.Store, Key: cl.s.ref.Key, Token: cl.token, Revision: cl.revision,
		})
	}
	answer := &profilev1.ReclaimResponse{}
	err := c.link.sendUntilAnswered(c.life.ctx, &change{act: "reclaim", incarnation: l, method: profilev1.Profiles_Reclaim_FullMethodName, request: request, answer: answer})
	if err == nil && len(answer.Claims) != len(batch) {
		err = errors.New("the answer is to other claims")
	}
	for i, cl := range batch {
		switch {
		case err != nil:
			cl.err = err
		case answer.Claims[i].Held:
			cl.anew = answer.Header.GetToken()
		default:
			cl.owner = answer.Claims[i].Owner
		}
		close(cl.done)
	}
}

// reclaimGrant brings one session under an incarnation. No write of it is under way meanwhile, so the outcome of the last
// one is known, and with it the exact revision.
func (g *sessionGrant) reclaimGrant(l *incarnation, claims chan<- *reclaimedGrant) {
	s := g.s
	select {
	case s.turn <- struct{}{}:
		defer s.turn.giveBack()
	case <-s.doneUnlessKept():
		return
	case <-l.over:
		return
	case <-s.ctx.Done():
		return
	}
	s.mu.Lock()
	old, kept := g.incarnation, s.state == sessionKept
	over := s.state.isOver() && !kept // a last save that did not happen waits for this, too
	cl := &reclaimedGrant{s: s, token: g.token, revision: s.saves.revision, done: make(chan struct{})}
	s.mu.Unlock()
	if over {
		return
	}
	if old.of.epoch != l.of.epoch { // a grant of an older epoch says nothing in this one
		why := endError(s.ref, EndOtherCluster, nil, errors.New(restoredSince))
		s.finishSession(why)
		s.giveUpKeptCopy(why)
		s.freeKey()
		return
	}
	claims <- cl
	<-cl.done
	switch {
	case cl.anew != 0 && g.moveToIncarnation(old, l, cl.anew):
		s.client.counters.reclaimed.Add(1)
		s.inbox.fetchMessages() // messages that came meanwhile were pushed to no game server
	case cl.anew != 0:
		s.client.keeper.releaseInBackground(l, heldGrant{s.ref, cl.anew}, EndUnknown, nil)
		why := endError(s.ref, EndExpired, nil, nil)
		s.finishSession(why)
		s.giveUpKeptCopy(why)
		s.freeKey()
	case endsIncarnation(reasonOf(cl.err)) || errors.Is(cl.err, ErrClosed):
	default:
		why := endError(s.ref, EndExpired, ownerOf(cl.owner), cl.err)
		s.finishSession(why)
		s.giveUpKeptCopy(why)
		s.freeKey()
	}
}

// moveToIncarnation makes a session one of another incarnation, under the token of its new grant. That one may be over by
// now too; the session then waits for the next, unless there is to be none. false: there is none, or the session itself is
// over.
func (g *sessionGrant) moveToIncarnation(from, to *incarnation, token uint64) bool {
	s := g.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.isOver() && s.state != sessionKept || !s.client.keeper.moveGrant(s, from, to, g.token, token) {
		return false
	}
	g.incarnation, g.token = to, token
	g.missedRenewal.Store(0) // the numbers of renewals begin again at 1
	close(g.moved)
	g.moved = make(chan struct{})
	return true
}
