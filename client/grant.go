package client

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
)

// hold takes a grant. false: the incarnation has ended since.
func (s *session) hold(l *life, token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != starting || s.given {
		return s.token == token && s.stage != over
	}
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if l.why != nil {
		return false
	}
	s.stage, s.token = held, token
	l.held[holding{s.ref, token}] = s
	l.heldHash = lock.HeldHash(l.heldHash, s.ref.Store, s.ref.Key, lock.Token(token))
	s.since = l.sequence
	close(s.granted)
	return true
}

// take is told of a grant of this profile, and says whether it is this session's.
func (s *session) take(l *life, g *profilev1.Granted) bool {
	s.mu.Lock()
	mine := s.life == l
	switch {
	case !mine || s.given || s.stage == over:
		s.mu.Unlock()
		return false // it is on its way out, and what it leaves behind will be listed again
	case s.stage == starting && s.ticket == 0:
		s.early = append(s.early, g)
		s.mu.Unlock()
		return false
	case s.stage == starting:
		wanted := s.ticket == g.Ticket
		s.mu.Unlock()
		if wanted {
			return s.hold(l, g.Token)
		}
		s.client.release(l, s.ref, g.Token, nil)
		return false
	}
	mine = s.token == g.Token
	newer := g.Token > s.token
	s.mu.Unlock()
	if newer {
		s.verify()
	}
	return mine
}

// askedToLetGo begins the hand-off: somebody waits for the profile, or an operator asked for it.
func (s *session) askedToLetGo(token uint64, operator bool) {
	s.mu.Lock()
	s.asked, s.operator = token, operator
	now := s.begun && s.stage == held && s.token == token && !s.handing
	if now {
		s.handing = true
	}
	s.mu.Unlock()
	if now {
		reason := LastSaveExternal
		if operator {
			reason = LastSaveOperator
		}
		s.client.spawn(func() { s.handOff(reason) })
	}
}

// handOff ends the session with a last save. It is wanted, so it never takes longer than 0.7 of the hand-off time,
// after which the session is revoked: if by then no data could be encoded, what is stored already is the last.
func (s *session) handOff(reason LastSaveReason) {
	s.mu.Lock()
	limit := s.life.timing.HandOff * 7 / 10
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	for {
		err := s.end(ctx, reason)
		if err == nil || closedNow(s.done) {
			return
		}
		s.client.config.Log.Warn("hand-off", "profile", s.ref.String(), "error", err)
		if !pause(ctx, limit/20) {
			break
		}
	}
	s.mu.Lock()
	sent := s.stage == ending
	s.mu.Unlock()
	if !sent && s.ctx.Err() == nil {
		s.lose(endError(s.ref, EndLate, nil, nil))
	}
}

// revoked is told that the owner's writes are refused from here on. The next grant waits until this is answered.
func (s *session) revoked(token uint64, cause profilev1.Cause) {
	s.mu.Lock()
	s.lost, s.cause = token, cause
	mine := s.begun && s.token == token && s.stage != over
	s.mu.Unlock()
	if mine {
		s.lose(endError(s.ref, endReasonOf(cause), nil, nil))
	}
}

// verify looks up whether the grant is still in force, and ends the session if it is not.
func (s *session) verify() {
	s.client.spawn(func() {
		s.mu.Lock()
		l, token, at := s.life, s.token, s.stage
		s.mu.Unlock()
		if at != held {
			return
		}
		missed := s.missed.Load()
		got := &profilev1.GetResponse{}
		err := s.client.ask(s.ctx, "verify", s.ref, profilev1.Profiles_Get_FullMethodName,
			&profilev1.GetRequest{Store: s.ref.Store, Key: s.ref.Key, WithoutData: true}, got, false)
		if err == nil && owns(got, l, token) {
			s.missed.CompareAndSwap(missed, 0)
		} else if err == nil {
			s.mu.Lock()
			same := s.stage == held && s.life == l
			s.mu.Unlock()
			if same && !closedNow(l.over) { // else its own end has come between, or that of the incarnation
				s.lose(endError(s.ref, EndUnknown, ownerOf(got.Owner), nil))
			}
		}
	})
}

// owns says whether a linearizable answer names this incarnation and token as the owner.
func owns(got *profilev1.GetResponse, l *life, token uint64) bool {
	return got.Owner.GetIncarnation() == l.incarnation && got.Stands.GetToken() == token
}
