package client

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// earlyEvent returns the handling of the request or the revocation that came before the game had the session. It is called
// under session.mu; the returned function is not.
func (g *sessionGrant) earlyEvent() (handle func()) {
	request, lost := g.request, g.lost
	switch g.token {
	case lost.GetToken():
		return func() { g.handleRevoked(lost) }
	case request.GetToken():
		return func() { g.handleLetGo(request) }
	}
	return func() {}
}

// handleLetGo begins the hand-off: another game server waits for the profile, or an operator asked for it.
func (g *sessionGrant) handleLetGo(request *profilev1.LetGo) {
	s := g.s
	s.mu.Lock()
	if g.request.GetToken() != request.Token || request.By != nil { // a list of grants does not say for whom
		g.request = request
	}
	now := s.state == sessionActive && g.token == request.Token && !g.handingOff
	if now {
		g.handingOff = true
	}
	s.mu.Unlock()
	if now {
		reason := LastSaveExternal
		if request.Operator {
			reason = LastSaveOperator
		}
		s.client.life.startGoroutine(func() { g.handOff(reason) })
	}
}

// handOff ends the session with a last save. It is wanted, so it is over before the hand-off time is, after which the
// session is revoked: if by then no data could be encoded, the session ends with the data stored last. Some of that time is
// gone when the request comes late, as after a change of the leader.
func (g *sessionGrant) handOff(reason LastSaveReason) {
	s := g.s
	s.mu.Lock()
	limit := g.incarnation.timing.LastSaveLimit(time.Duration(g.request.GetPendingMs()) * time.Millisecond)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	for {
		err := s.saves.saveAndEnd(ctx, reason)
		if err == nil || isClosed(s.done) {
			return
		}
		s.client.config.Log.Warn("hand-off", "profile", s.ref.String(), "error", err)
		if !wire.SleepUnlessDone(ctx, limit/20) {
			break
		}
	}
	s.mu.Lock()
	sent, by := s.state == sessionEnding, ownerOf(g.request.GetBy())
	s.mu.Unlock()
	if !sent && s.ctx.Err() == nil {
		s.loseSession(endError(s.ref, EndLate, by, nil))
	}
}

// handleRevoked handles the event that the owner's writes are refused from here on. The next grant waits until this is
// answered.
func (g *sessionGrant) handleRevoked(lost *profilev1.Lost) {
	s := g.s
	s.mu.Lock()
	g.lost = lost
	mine := s.state.hasBegun() && g.token == lost.Token && !s.state.isOver()
	s.mu.Unlock()
	if mine {
		s.loseSession(endError(s.ref, endReasonOf(lost.Cause), ownerOf(lost.By), nil))
	}
}
