package client

import (
	"context"
	"errors"
	"time"
)

// keptFor is how long the last copy of a session is kept that is over because the cluster was out of reach.
const keptFor = 10 * time.Minute

// endOutOfReach ends a session at the game's limit for doubt. The unsaved data is kept as it is then, and saved, with the
// release in the same entry, when the cluster is back: under its token if its incarnation lives, else after a reclaim at the
// exact revision. Both are fenced, so no other owner's or operator's write is overwritten. Its grant stays in the held set
// meanwhile, or the first comparison would release it before the save. A session without unsaved changes is dropped from the
// held set: the cluster lists it as held when it is back, and a grant that no session here holds is released then.
func (s *session) endOutOfReach() {
	s.mu.Lock()
	if s.stage == over {
		s.mu.Unlock()
		return
	}
	w := newSaveRequest()
	w.last, w.lazy, w.kept = true, false, true
	l, token := s.incarnation, s.token
	keep := s.begun && !(s.stored.known && s.stored.changes == s.changes.Load())
	if keep {
		s.kept.Store(true)
		s.lastCopy = w
		if s.nextSave != nil {
			w.joinedSaves, s.nextSave = append(w.joinedSaves, s.nextSave), nil
		}
		if s.currentSave != nil && !isClosed(s.currentSave.overtaken) {
			close(s.currentSave.overtaken)
		}
		close(s.keeping)
	}
	s.mu.Unlock()
	s.finishSession(endError(s.ref, EndOutOfReach, nil, nil))
	if !keep {
		s.client.mu.Lock()
		l.unreleased[heldGrant{s.ref, token}] = EndOutOfReach
		s.client.mu.Unlock()
		s.stop(nil)
		s.freeKey()
		return
	}
	s.mu.Lock()
	s.nextSave = w
	if !s.savesRunning {
		s.savesRunning = s.client.startGoroutine(s.runSaves)
	}
	s.mu.Unlock()
	s.client.startGoroutine(s.limitKeepTime)
}

// limitKeepTime gives the copy up in the end.
func (s *session) limitKeepTime() {
	timer := time.NewTimer(keptFor)
	defer timer.Stop()
	select {
	case <-s.keyFreed:
	case <-s.client.ctx.Done():
	case <-timer.C:
		s.stop(errors.New("the cluster was out of reach for too long after the session had ended"))
	}
}

// dropKeptGrant takes the grant of a kept copy out of the held set.
func (s *session) dropKeptGrant() {
	if !s.kept.Swap(false) {
		return
	}
	c := s.client
	s.mu.Lock()
	l, token := s.incarnation, s.token
	c.mu.Lock()
	l.dropGrant(s, token)
	c.forgetPastIncarnations()
	c.mu.Unlock()
	s.mu.Unlock()
}

// giveUpKeptCopy gives up the copy for a reason that leaves nothing to be released; the handlers of OnAfterSave get it.
func (s *session) giveUpKeptCopy(why error) {
	if s.kept.Load() {
		s.stop(why)
		s.dropKeptGrant()
	}
}

// doneUnlessKept is a channel that is closed when nothing of the session is to be saved any more.
func (s *session) doneUnlessKept() <-chan struct{} {
	if s.kept.Load() {
		return nil // the end of its context says so
	}
	return s.done
}

// keptCopyError says why a kept copy is not saved.
func (s *session) keptCopyError(err error) error {
	if cause := context.Cause(s.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return &Error{Act: "save", Ref: s.ref, Kind: ErrSessionOver, Sentence: "the last copy, which was kept, is not stored", Cause: err}
}
