package client

import "context"

// writeTurn is the right to write a session's profile. It is taken for each write and for a change of the session's
// incarnation, so that the outcome of a write is known before the next one names what it replaces. Nothing waits for the
// game while it has the turn.
type writeTurn chan struct{} // holds one value while the turn is taken

func newWriteTurn() writeTurn { return make(writeTurn, 1) }

func (t writeTurn) giveBack() { <-t }

// takeTurn waits until the session may be written under its incarnation, and no other write of it is under way. The caller
// gives the turn back. A session of an ended incarnation waits until it is reclaimed.
func (s *session) takeTurn(ctx context.Context) (*incarnation, error) {
	for {
		s.mu.Lock()
		l, moved := s.grant.incarnation, s.grant.moved
		if s.state.isOver() && s.state != sessionKept {
			defer s.mu.Unlock()
			return nil, overError("save", s.ref, s.overReason)
		}
		s.mu.Unlock()
		if isClosed(l.over) {
			select {
			case <-moved:
			case <-s.doneUnlessKept():
			case <-ctx.Done():
				return nil, s.client.notSentError(ctx, "save", s.ref)
			}
			continue
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, s.client.notSentError(ctx, "save", s.ref)
		}
		if !isClosed(l.over) {
			return l, nil
		}
		s.turn.giveBack()
	}
}
