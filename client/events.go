package client

import (
	"errors"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// handleEvent takes an event. Events may repeat, may come late, and may come before the answer to the request that they are
// about; none is needed, since the next renewal shows everything that was missed.
func (c *Client) handleEvent(l *incarnation, event *profilev1.Event) {
	switch what := event.What.(type) {
	case *profilev1.Event_Granted:
		c.handleGranted(l, what.Granted)
	case *profilev1.Event_LetGo:
		if s := c.sessions.sessionAt(what.LetGo.Store, what.LetGo.Key); s != nil {
			s.grant.handleLetGo(what.LetGo)
		}
	case *profilev1.Event_Lost:
		if s := c.sessions.sessionAt(what.Lost.Store, what.Lost.Key); s != nil {
			s.grant.handleRevoked(what.Lost)
		} else {
			c.keeper.releaseInBackground(l, heldGrant{Ref{what.Lost.Store, what.Lost.Key}, what.Lost.Token}, EndUnknown, nil)
		}
	case *profilev1.Event_Message:
		if s := c.sessions.sessionAt(what.Message.Store, what.Message.Key); s != nil {
			s.inbox.noteMessagesWait(what.Message)
		}
	}
}

// handleGranted takes a grant that waits for its session, and gives it back if no session here wants it: otherwise this game
// server would renew it without end.
func (c *Client) handleGranted(l *incarnation, g *profilev1.Granted) {
	ref := Ref{g.Store, g.Key}
	s := c.sessions.sessionAt(g.Store, g.Key)
	if s == nil {
		c.keeper.releaseInBackground(l, heldGrant{ref, g.Token}, EndUnknown, nil)
		return
	}
	if s.grant.takeGrant(l, g) && g.LetGo {
		s.grant.handleLetGo(&profilev1.LetGo{Store: g.Store, Key: g.Key, Token: g.Token})
	}
}

// grantComparison is the log's list of the grants that this game server holds, which comes in pages.
type grantComparison struct {
	index  uint64    // at which every page lists
	began  uint64    // the number of the renewal that began it
	left   time.Time // when that one left
	listed map[heldGrant]bool
}

// compareGrants makes this client and the log agree on the held grants. A grant that the log lists and no session here knows
// is released. A session held here and not listed is looked up: being absent from a list ends nothing, since a grant and a
// list may cross on their way. Until then it is in doubt, for the answer that did not list it renews all the same.
//
// A list may come in pages. Until the last one nothing is absent, and nothing is renewed, since a session on a later page
// may be over; the last one renews as of the renewal that began the list.
func (k *leaseKeeper) compareGrants(l *incarnation, answer *profilev1.Renewed, left time.Time) (since time.Time, complete bool) {
	c := k.c
	all := l.compared
	if l.page == nil || all == nil || all.index != answer.Comparison {
		all = &grantComparison{index: answer.Comparison, began: answer.Sequence, left: left, listed: make(map[heldGrant]bool, len(answer.Grants))}
	}
	for _, g := range answer.Grants {
		all.listed[heldGrant{Ref{g.Store, g.Key}, g.Token}] = true
		c.handleGranted(l, g)
	}
	if answer.Last != nil {
		l.page, l.compared = answer.Last, all
		return all.left, false
	}
	l.page, l.compared = nil, nil
	k.mu.Lock()
	var missing []*session
	for h, s := range l.held {
		switch {
		case all.listed[h]:
			s.grant.missedRenewal.Store(0)
		case s.grant.since < all.began:
			s.grant.missedRenewal.Store(answer.Sequence)
			missing = append(missing, s)
		}
	}
	k.mu.Unlock()
	for _, s := range missing {
		s.grant.verifyGrant()
	}
	return all.left, true
}

// releaseInBackground gives back a grant in the background, until the log has heard it; then runs, if it is not nil, once
// nothing more will come of it. reason is how its session ended; one that ended without a release has left its reason.
func (k *leaseKeeper) releaseInBackground(l *incarnation, h heldGrant, reason EndReason, then func()) {
	c := k.c
	k.mu.Lock()
	if reason == EndUnknown {
		reason = l.unreleased[h]
	}
	delete(l.unreleased, h)
	known := l.releasing[h]
	if !known {
		l.releasing[h] = true
	}
	k.mu.Unlock()
	if known && then == nil {
		return
	}
	work := func() {
		err := c.link.sendUntilAnswered(c.life.ctx, &change{
			act: "release", ref: h.Ref, incarnation: l, method: profilev1.Profiles_Release_FullMethodName,
			request: &profilev1.ReleaseRequest{Store: h.Store, Key: h.Key, Token: h.token, Cause: causeOf(reason)},
			answer:  &profilev1.ReleaseResponse{},
		})
		// Fenced means that the grant has another owner already, gone that the incarnation and all its grants are over.
		if err != nil && !errors.Is(err, ErrSessionOver) {
			c.config.Log.Warn("release a grant", "profile", h.String(), "error", err)
		}
		k.mu.Lock()
		delete(l.releasing, h)
		k.mu.Unlock()
		if then != nil {
			then()
		}
	}
	if !c.life.startGoroutine(work) && then != nil {
		then()
	}
}
