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
	if !s.concludeSession(sessionUnsaved, EndOutOfReach, endError(s.ref, EndOutOfReach, nil, nil)) {
		return
	}
	if isClosed(s.saves.keeping) {
		s.client.life.startGoroutine(s.limitKeepTime)
		return
	}
	s.mu.Lock()
	l, token := s.grant.incarnation, s.grant.token
	s.mu.Unlock()
	s.client.keeper.noteUnreleased(l, heldGrant{s.ref, token}, EndOutOfReach)
	s.stop(nil)
	s.freeKey()
}

// limitKeepTime gives the copy up in the end.
func (s *session) limitKeepTime() {
	timer := time.NewTimer(keptFor)
	defer timer.Stop()
	select {
	case <-s.keyFreed:
	case <-s.client.life.ctx.Done():
	case <-timer.C:
		s.stop(errors.New("the cluster was out of reach for too long after the session had ended"))
	}
}

// dropKeptCopy notes that the copy is saved, or given up, and takes its grant out of the held set.
func (s *session) dropKeptCopy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.apply(keptCopyDone) {
		s.client.keeper.dropGrant(s.grant.incarnation, s, s.grant.token)
	}
}

// giveUpKeptCopy gives up the copy for a reason that leaves nothing to be released; the handlers of OnAfterSave get it.
func (s *session) giveUpKeptCopy(why error) {
	if s.isKept() {
		s.stop(why)
		s.dropKeptCopy()
	}
}

// isKept says that the session is over, and its last copy is to be saved.
func (s *session) isKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == sessionKept
}

// doneUnlessKept is a channel that is closed when nothing of the session is to be saved any more.
func (s *session) doneUnlessKept() <-chan struct{} {
	if s.isKept() {
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
