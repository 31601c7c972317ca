package client

import "errors"

// loseSession ends a session that the log has ended, and says so there, since the next owner waits for that.
func (s *session) loseSession(why error) {
	s.finishSession(why)
	s.dropKeptCopy()
	s.mu.Lock()
	l, token, panicked := s.grant.incarnation, s.grant.token, s.state == sessionPanicked
	s.mu.Unlock()
	if panicked {
		return // a release without the count of its panics would fence the one that has it
	}
	reason, _ := endedBy(why)
	s.client.keeper.releaseInBackground(l, heldGrant{s.ref, token}, reason, s.freeKey)
}

// finishSession makes the session over, unless it is, since it was lost or could not start.
func (s *session) finishSession(why error) { s.concludeSession(sessionEnded, EndUnknown, why) }

// concludeSession makes the session over by one of the events that end it, and says whether this call did. why is nil if
// it ended with all data stored; then reason says how. At the limit for doubt it is kept only if it has unsaved changes.
func (s *session) concludeSession(by sessionEvent, reason EndReason, why error) bool {
	s.mu.Lock()
	if by == sessionUnsaved && !s.hasUnsavedChanges() {
		by = sessionEnded
	}
	if !s.state.apply(by) {
		s.mu.Unlock()
		return false
	}
	s.overReason, s.end = why, s.describeEnd(reason, why)
	end, kept := s.end, s.state == sessionKept
	close(s.done)
	l, token := s.grant.incarnation, s.grant.token
	next := s.saves.dropNext()
	fate := s.saves.correctByOutcome(overError("save", s.ref, why))
	s.mu.Unlock()

	c := s.client
	if token != 0 {
		c.counters.addEnd(why)
	}
	if token != 0 && why != nil && !errors.Is(why, ErrClosed) {
		c.config.Log.Warn("a session is lost", "profile", s.ref.String(), "code", string(CodeSessionLost), "why", why,
			"unsaved_changes", end.Unsaved)
	}
	if l != nil && !kept {
		c.keeper.dropGrant(l, s, token)
	}
	c.saver.removeSession(s)
	if next != nil {
		next.finishSave(fate, s.saves.knownRevision())
	}
	s.onEnd.callEach(0, func(f func(End)) bool {
		s.runEndHandler(f, end)
		return true
	})
	return true
}

// describeEnd is asked under mu, once the session is over.
func (s *session) describeEnd(reason EndReason, why error) End {
	end := End{Ref: s.ref, Reason: reason, By: s.grant.endedFor(reason), Err: why}
	if why != nil {
		end.Reason, end.By = endedBy(why)
		end.Unsaved = s.hasUnsavedChanges()
	}
	return end
}

// callWhenOver runs f once when the session is over, at once if it is.
func (s *session) callWhenOver(f func(End)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.isOver() {
		return s.onEnd.addHandler(f)
	}
	end := s.end
	s.runEndHandler(f, end)
	return func() {}
}

func (s *session) runEndHandler(f func(End), end End) {
	s.client.handlers.startHandler(func() { s.client.handlers.runHandlerAlone("OnSessionEnd", s.ref, func() { f(end) }) })
}
