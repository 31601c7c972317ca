package client

import (
	"sync/atomic"

	"github.com/profilenode/profilenode/api/profilev1"
)

// sessionGrant is a session's grant: how it comes, is asked for, is taken away, and is reclaimed. session.mu guards it, but
// for the fields that say otherwise.
type sessionGrant struct {
	s *session

	incarnation *incarnation         // nil before StartSession has one
	moved       chan struct{}        // closed and replaced when incarnation changes
	token       uint64               // 0 before the grant
	taken       chan struct{}        // closed with the grant
	ticket      uint64               // while it waits
	early       []*profilev1.Granted // came before the ticket was known

	request    *profilev1.LetGo // the last event that another game server waits, or that an operator asked; nil: none came
	handingOff bool             // a hand-off was begun
	lost       *profilev1.Lost  // the event of the last revocation; nil: none came
	next       *profilev1.Owner // the game server that was granted the profile with the last save; nil: none, or it was not answered

	since         uint64        // the last renewal that did not yet name the token; guarded by leaseKeeper.mu
	missedRenewal atomic.Uint64 // number of the renewal with an answer that did not list it; 0: none, or it was looked up since
}

// beginUnder makes the session one of an incarnation, under which its StartSession is sent.
func (g *sessionGrant) beginUnder(l *incarnation) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.incarnation, g.ticket, g.early = l, 0, nil
}

// holdGrant takes a grant. false: the incarnation has ended since.
func (g *sessionGrant) holdGrant(l *incarnation, token uint64) bool {
	s := g.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sessionStarting {
		return g.token == token && !s.state.isOver()
	}
	if !s.client.keeper.addGrant(l, s, token) {
		return false
	}
	s.state.apply(grantTaken)
	g.token = token
	close(g.taken)
	return true
}

// setTicket notes the ticket that waits in the queue, and takes the grants that came before it was known.
func (g *sessionGrant) setTicket(l *incarnation, ticket uint64) {
	g.s.mu.Lock()
	g.ticket = ticket
	early := g.early
	g.early = nil
	g.s.mu.Unlock()
	for _, granted := range early {
		g.takeGrant(l, granted)
	}
}

// takeGrant takes a grant of this profile, and says whether it is this session's.
func (g *sessionGrant) takeGrant(l *incarnation, granted *profilev1.Granted) bool {
	s := g.s
	s.mu.Lock()
	mine := g.incarnation == l
	switch {
	case !mine || s.state == sessionAbandoned || s.state.isOver():
		s.mu.Unlock()
		return false // it is on its way out, and a grant that it leaves behind will be listed again
	case s.state == sessionStarting && g.ticket == 0:
		g.early = append(g.early, granted)
		s.mu.Unlock()
		return false
	case s.state == sessionStarting:
		wanted := g.ticket == granted.Ticket
		s.mu.Unlock()
		if wanted {
			return g.holdGrant(l, granted.Token)
		}
		s.client.keeper.releaseInBackground(l, heldGrant{s.ref, granted.Token}, EndUnknown, nil)
		return false
	}
	mine = g.token == granted.Token
	newer := granted.Token > g.token
	s.mu.Unlock()
	if newer {
		g.verifyGrant()
	}
	return mine
}

// verifyGrant looks up whether the grant is still in force, and ends the session if it is not.
func (g *sessionGrant) verifyGrant() {
	s := g.s
	s.client.life.startGoroutine(func() {
		s.mu.Lock()
		l, token, held := g.incarnation, g.token, s.state.isHeld()
		s.mu.Unlock()
		if !held {
			return
		}
		missed := g.missedRenewal.Load()
		got, err := s.client.link.lookUpOwner(s.ctx, "verify", s.ref)
		if err == nil && ownsProfile(got, l, token) {
			g.missedRenewal.CompareAndSwap(missed, 0)
		} else if err == nil {
			s.mu.Lock()
			same := s.state.isHeld() && g.incarnation == l
			s.mu.Unlock()
			if same && !isClosed(l.over) { // else its own end has come between, or that of the incarnation
				s.loseSession(endError(s.ref, EndUnknown, successorOf(got, token), nil))
			}
		}
	})
}

// successorOf returns the owner in a linearizable answer, or the one that ended the session under this token if there was no
// grant since.
func successorOf(got *profilev1.GetResponse, token uint64) *Owner {
	if got.Owner == nil && got.Header.GetToken() == token {
		return ownerOf(got.EndedBy)
	}
	return ownerOf(got.Owner)
}

// noteNextOwner notes the game server that the answer to a last save names as the next owner; nil: it names none.
func (g *sessionGrant) noteNextOwner(next *profilev1.Owner) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.next = next
}

// endedFor returns the one for which the session ended with its last save: the operator's tool that asked, else the game
// server that has the profile next. It is called under session.mu.
func (g *sessionGrant) endedFor(reason EndReason) *Owner {
	if g.next != nil && reason != EndReleased {
		return ownerOf(g.next)
	}
	if reason == EndReleased || reason == EndHandedOff {
		return ownerOf(g.request.GetBy())
	}
	return nil
}

// ownsProfile says whether a linearizable answer names this incarnation and token as the owner.
func ownsProfile(got *profilev1.GetResponse, l *incarnation, token uint64) bool {
	return got.Owner.GetIncarnation() == l.id && got.Header.GetToken() == token
}
