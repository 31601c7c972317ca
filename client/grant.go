package client

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
)

// holdGrant takes a grant. false: the incarnation has ended since.
func (s *session) holdGrant(l *incarnation, token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != starting || s.startGivenUp {
		return s.token == token && s.stage != over
	}
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if l.why != nil {
		return false
	}
	s.stage, s.token = held, token
	l.held[heldGrant{s.ref, token}] = s
	l.heldHash = lock.HeldHash(l.heldHash, s.ref.Store, s.ref.Key, lock.Token(token))
	s.since = l.sequence
	close(s.granted)
	return true
}

// takeGrant takes a grant of this profile, and says whether it is this session's.
func (s *session) takeGrant(l *incarnation, g *profilev1.Granted) bool {
	s.mu.Lock()
	mine := s.incarnation == l
	switch {
	case !mine || s.startGivenUp || s.stage == over:
		s.mu.Unlock()
		return false // it is on its way out, and a grant that it leaves behind will be listed again
	case s.stage == starting && s.ticket == 0:
		s.earlyGrants = append(s.earlyGrants, g)
		s.mu.Unlock()
		return false
	case s.stage == starting:
		wanted := s.ticket == g.Ticket
		s.mu.Unlock()
		if wanted {
			return s.holdGrant(l, g.Token)
		}
		s.client.releaseInBackground(l, heldGrant{s.ref, g.Token}, EndUnknown, nil)
		return false
	}
	mine = s.token == g.Token
	newer := g.Token > s.token
	s.mu.Unlock()
	if newer {
		s.verifyGrant()
	}
	return mine
}

// requestedToLetGo begins the hand-off: another game server waits for the profile, or an operator asked for it.
func (s *session) requestedToLetGo(token uint64, operator bool) {
	s.mu.Lock()
	s.releaseRequested, s.operator = token, operator
	now := s.begun && s.stage == held && s.token == token && !s.handingOff
	if now {
		s.handingOff = true
	}
	s.mu.Unlock()
	if now {
		reason := LastSaveExternal
		if operator {
			reason = LastSaveOperator
		}
		s.client.startGoroutine(func() { s.startHandOff(reason) })
	}
}

// startHandOff ends the session with a last save. It is wanted, so it never takes longer than 0.7 of the hand-off time,
// after which the session is revoked: if by then no data could be encoded, the session ends with the data stored last.
func (s *session) startHandOff(reason LastSaveReason) {
	s.mu.Lock()
	limit := s.incarnation.timing.HandOff * 7 / 10
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	for {
		err := s.saveAndEnd(ctx, reason)
		if err == nil || isClosed(s.done) {
			return
		}
		s.client.config.Log.Warn("hand-off", "profile", s.ref.String(), "error", err)
		if !sleepUnlessDone(ctx, limit/20) {
			break
		}
	}
	s.mu.Lock()
	sent := s.stage == ending
	s.mu.Unlock()
	if !sent && s.ctx.Err() == nil {
		s.loseSession(endError(s.ref, EndLate, nil, nil))
	}
}

// handleRevoked handles the event that the owner's writes are refused from here on. The next grant waits until this is
// answered.
func (s *session) handleRevoked(token uint64, cause profilev1.Cause) {
	s.mu.Lock()
	s.revokedToken, s.cause = token, cause
	mine := s.begun && s.token == token && s.stage != over
	s.mu.Unlock()
	if mine {
		s.loseSession(endError(s.ref, endReasonOf(cause), nil, nil))
	}
}

// verifyGrant looks up whether the grant is still in force, and ends the session if it is not.
func (s *session) verifyGrant() {
	s.client.startGoroutine(func() {
		s.mu.Lock()
		l, token, at := s.incarnation, s.token, s.stage
		s.mu.Unlock()
		if at != held {
			return
		}
		missed := s.missedRenewal.Load()
		got := &profilev1.GetResponse{}
		err := s.client.readUntilAnswered(s.ctx, "verify", s.ref, profilev1.Profiles_Get_FullMethodName,
			&profilev1.GetRequest{Store: s.ref.Store, Key: s.ref.Key, WithoutData: true}, got, false)
		if err == nil && ownsProfile(got, l, token) {
			s.missedRenewal.CompareAndSwap(missed, 0)
		} else if err == nil {
			s.mu.Lock()
			same := s.stage == held && s.incarnation == l
			s.mu.Unlock()
			if same && !isClosed(l.over) { // else its own end has come between, or that of the incarnation
				s.loseSession(endError(s.ref, EndUnknown, ownerOf(got.Owner), nil))
			}
		}
	})
}

// ownsProfile says whether a linearizable answer names this incarnation and token as the owner.
func ownsProfile(got *profilev1.GetResponse, l *incarnation, token uint64) bool {
	return got.Owner.GetIncarnation() == l.id && got.Stands.GetToken() == token
}
