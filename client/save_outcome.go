package client

import "errors"

// correctByOutcome returns err, which says that nothing was stored, unless this is not known or not true: an earlier save
// may have carried every change. A session that was taken away is over all the same, and the caller of Save is told. It is
// called under session.mu.
func (q *saveQueue) correctByOutcome(err error) error {
	s := q.s
	changes := s.changes.Load()
	switch {
	case s.state.isOver() && s.overReason == nil:
		return nil
	case s.state.isOver() && q.stored.known && q.stored.changes == changes:
		return &Error{Act: "save", Ref: s.ref, Kind: ErrSessionOver, Sentence: "all that was changed had been stored", Cause: s.overReason}
	case q.unclear && q.changesInFlight == changes && !errors.Is(err, ErrUnknown):
		return &Error{Act: "save", Ref: s.ref, Kind: ErrUnknown, Sentence: "the save that had it was not answered", pending: q.unanswered}
	}
	return err
}

// currentHasAll says that the save under way has all that was changed. It is asked under session.mu.
func (q *saveQueue) currentHasAll() bool {
	return q.current != nil && q.changesInFlight == q.s.changes.Load()
}

// mayHaveStoredAll says that a save with all that was changed is under way, or its outcome is not known. It is asked under
// session.mu.
func (q *saveQueue) mayHaveStoredAll() bool {
	return (q.current != nil || q.unclear) && q.changesInFlight == q.s.changes.Load()
}

func (q *saveQueue) knownRevision() uint64 {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return q.revision
}

// countFailures counts the saves that failed in a row, with this one.
func (q *saveQueue) countFailures(err error) int {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.failures++
	if err == nil {
		q.failures = 0
	}
	return q.failures
}

// runSavedHandlers tells the handlers of OnAfterSave, one save after the other.
func (q *saveQueue) runSavedHandlers(saved Saved) {
	if q.onSaved.isEmpty() {
		return
	}
	c := q.s.client
	q.handlers.enqueue(func() {
		q.onSaved.callEach(0, func(f func(Saved)) bool {
			c.handlers.runHandlerAlone("OnAfterSave", q.s.ref, func() { f(saved) })
			return true
		})
	}, c.handlers.startHandler)
}
