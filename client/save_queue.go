package client

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/profilenode/profilenode/api/profilev1"
)

// saveQueue makes the saves of a session, one at a time: one may be under way, and one may wait for it. session.mu guards
// it, but for the fields that say otherwise.
type saveQueue struct {
	s           *session
	hasHandlers atomic.Bool // a handler wants to run before each save

	next     *saveRequest // that callers may still join; nil: none
	current  *saveRequest // under way
	running  bool         // a goroutine makes them
	failures int          // in a row

	lastCopy *saveRequest  // of a session that is over, kept until the cluster is back
	keeping  chan struct{} // closed when that begins

	revision   uint64      // of the profile, as last acknowledged
	stored     encodedData // as last acknowledged; without data
	cleared    []uint64    // messages that a save has cleared, and the inbox does not know yet
	unstorable unstorable

	changesInFlight uint64          // changes that the save under way carries, or the last one did
	unclear         bool            // the outcome of that save is not known
	unanswered      *pendingOutcome // the outcome of that save, once it is settled

	onSaved  handlerList[func(Saved)] // locks itself
	handlers handlerQueue             // in which those run; locks itself
}

// saveNow stores the data as it is now, or later.
func (q *saveQueue) saveNow(ctx context.Context) error {
	return q.requestAndWait(ctx, false, LastSaveManual)
}

// saveAndEnd makes the last save.
func (q *saveQueue) saveAndEnd(ctx context.Context, reason LastSaveReason) error {
	return q.requestAndWait(ctx, true, reason)
}

func (q *saveQueue) requestAndWait(ctx context.Context, last bool, reason LastSaveReason) error {
	if ctx.Err() != nil {
		return q.s.client.notSentError(ctx, "save", q.s.ref)
	}
	w, err := q.requestSave(last, reason, false)
	if err != nil || w == nil {
		return err
	}
	return w.waitForSave(ctx, q.s)
}

// requestSave joins the save that is not yet encoded, or makes one. When nothing can be changed any more, the save under way
// is joined if it carries every change: its outcome is that of every change, and no caller may be told otherwise. Without a
// save and an error all is stored.
func (q *saveQueue) requestSave(last bool, reason LastSaveReason, lazy bool) (*saveRequest, error) {
	s := q.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state.isOver() && q.currentHasAll(), s.state == sessionEnding && q.current != nil:
		return q.current, nil
	case s.state == sessionKept:
		return q.lastCopy, nil
	case !s.state.hasBegun():
		return nil, overError("save", s.ref, s.overReason)
	case s.state != sessionActive:
		return nil, q.correctByOutcome(overError("save", s.ref, s.overReason))
	}
	if q.next == nil {
		q.next = newSaveRequest()
	}
	w := q.next
	w.lazy = w.lazy && lazy
	if last && !w.last {
		w.last, w.reason = true, reason
		q.overtakeCurrent()
	}
	if !q.startRunning() {
		q.next = nil
		return nil, &Error{Act: "save", Ref: s.ref, Kind: ErrClosed}
	}
	return w, nil
}

// requestAutosave asks for a save if anything may have changed. While there are no numbers it is put off: a cluster that
// cannot be reached must not make this process keep a copy of every profile.
func (q *saveQueue) requestAutosave() {
	s := q.s
	s.mu.Lock()
	idle := q.stored.known && q.stored.changes == s.changes.Load() && !q.hasHandlers.Load()
	room := s.grant.incarnation.numbers.HasRoom()
	s.mu.Unlock()
	switch {
	case idle:
	case !room:
		s.client.saver.saveSoon(s, max(s.client.saver.period/16, lockLook))
	default:
		_, _ = q.requestSave(false, LastSaveManual, true) // refused: the session is over, and so are its saves
	}
}

// startRunning starts the goroutine that makes the saves, unless it runs. false: the client has ended. It is called under
// session.mu.
func (q *saveQueue) startRunning() bool {
	if !q.running {
		q.running = q.s.client.life.startGoroutine(q.runSaves)
	}
	return q.running
}

// overtakeCurrent lets a last save overtake the save under way, if that only received refused copies. It is called under
// session.mu.
func (q *saveQueue) overtakeCurrent() {
	if q.current != nil && !isClosed(q.current.overtaken) {
		close(q.current.overtaken)
	}
}

// dropNext takes off the queue the save that waits, since the session is over. nil: there is none, or its callers share the
// outcome of another one. It is called under session.mu.
func (q *saveQueue) dropNext() *saveRequest {
	next := q.next
	q.next = nil
	switch {
	case q.s.state == sessionKept:
		q.keepLastCopy(next)
	case next != nil && q.s.overReason != nil && q.currentHasAll():
		q.current.joinSave(next)
	default:
		return next
	}
	return nil
}

// keepLastCopy queues the save of the last copy, which is made when the cluster is back. It is called under session.mu.
func (q *saveQueue) keepLastCopy(waiting *saveRequest) {
	w := newSaveRequest()
	w.last, w.lazy, w.kept = true, false, true
	if waiting != nil {
		w.joinSave(waiting)
	}
	q.lastCopy, q.next = w, w
	q.overtakeCurrent()
	close(q.keeping)
	q.startRunning()
}

// runSaves makes the requested saves, one at a time.
func (q *saveQueue) runSaves() {
	for {
		q.s.mu.Lock()
		if q.next == nil {
			q.running = false
			q.s.mu.Unlock()
			q.s.leaveWhenIdle()
			return
		}
		q.s.mu.Unlock()
		if w, err := q.makeNextSave(); w != nil {
			q.concludeSave(w, err)
		}
	}
}

// makeNextSave makes the save that is requested by the time that the profile's lock is free. It returns none if the session
// ended before.
func (q *saveQueue) makeNextSave() (*saveRequest, error) {
	var w *saveRequest
	for try := 0; ; try++ {
		var im encodedData
		var err error
		if w, im, err = q.encodeForSave(w); w == nil {
			return nil, nil
		}
		if err == nil {
			err = q.sendUntilStored(w, im)
		}
		q.noteUnstorable(im.changes, err)
		switch {
		case reasonOf(err) == profilev1.Reason_REASON_NO_MESSAGE && try < 3 && q.s.inbox.forgetCleared() == nil:
			// A message that a handler took has been cleared by another request since. Its effect stays in the data.
		case w.last && errors.Is(err, ErrInvalid) && !isClosed(q.s.done):
			return w, q.endUnsaved(w, err)
		default:
			return w, err
		}
	}
}

// concludeSave gives the outcome of a save to the callers that wait for it. One that a last save overtook becomes part of
// that.
func (q *saveQueue) concludeSave(w *saveRequest, err error) {
	s := q.s
	s.mu.Lock()
	q.current = nil
	if errors.Is(err, errOvertaken) {
		if q.next != nil {
			q.next.joinSave(w)
			s.mu.Unlock()
			return
		}
		err = overError("save", s.ref, s.overReason)
	}
	if p := pendingOutcomeIn(err); p != nil {
		q.unanswered = p
	}
	if q.unclear = q.unclear || errors.Is(err, ErrUnknown); err != nil {
		err = q.correctByOutcome(err)
	}
	s.mu.Unlock()
	if w.kept && err != nil && !errors.Is(err, ErrUnknown) {
		err = s.keptCopyError(err)
	}
	if err != nil {
		s.client.counters.failed.Add(1)
		var e *Error
		if errors.As(err, &e) && !errors.Is(err, ErrClosed) {
			s.client.handlers.reportError(e)
		}
		q.runSavedHandlers(Saved{Ref: s.ref, Revision: q.knownRevision(), Last: w.last, Err: err})
	}
	if w.kept && err != nil {
		s.loseSession(err)
	}
	s.client.saver.noteSaved(s, err)
	w.finishSave(err, q.knownRevision())
}
