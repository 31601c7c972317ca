package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// typedData is the part of a profile that depends on the game's type, as the session calls it. All of it is called under
// session.data.
type typedData interface {
	// runSaveHandlers runs the game's handlers that may still change the data.
	runSaveHandlers(last bool, reason LastSaveReason)
	hasMessageHandlers() bool // is there a handler of messages
	encodeData() ([]byte, error)
	codecID() uint32
	// offerToHandlers gives a message to the handlers that were added after the given place, and returns their answer, and
	// the place of the last one that passed it on.
	offerToHandlers(m Message, after int) (answer Answer, passed int)
}

// session is one session, from the StartSession on its way to the release that the log has heard. It speaks bytes.
//
// Locks: data before mu before those of the client's parts. Nothing waits while it holds one of them. The game's functions run under data,
// for as long as they like, so whatever waits for data holds nothing that another profile needs: no number, no turn, no
// place among those that fetch.
type session struct {
	client   *Client
	ref      Ref
	ctx      context.Context // of its writes; ends when no caller could want their outcome any more
	stop     context.CancelCauseFunc
	done     chan struct{} // closed when it is over
	keyFreed chan struct{} // closed when the key is free for another session of this client
	turn     writeTurn

	data    profileLock
	body    typedData     // guarded by data
	changes atomic.Uint64 // rises with each change, under data
	inbox   inbox

	mu    sync.Mutex
	state sessionState // guarded by mu, as is all below
	grant sessionGrant
	saves saveQueue
	loads uint64

	loadedWithoutMessages bool

	overReason error
	end        End // how it ended, once it is over
	onEnd      handlerList[func(End)]
}

func newSession(c *Client, ref Ref) *session {
	s := &session{
		client: c, ref: ref, data: newProfileLock(), turn: newWriteTurn(),
		done: make(chan struct{}), keyFreed: make(chan struct{}),
	}
	s.inbox.s = s
	s.grant = sessionGrant{s: s, taken: make(chan struct{}), moved: make(chan struct{})}
	s.saves = saveQueue{s: s, keeping: make(chan struct{})}
	s.ctx, s.stop = context.WithCancelCause(c.life.ctx)
	return s
}

// currentState computes the state afresh at each call: it depends on the time.
func (s *session) currentState() State {
	s.mu.Lock()
	l, held := s.grant.incarnation, s.state.isHeld()
	s.mu.Unlock()
	switch {
	case !held:
		return StateOver
	case isClosed(l.over) || l.lease.isInDoubt() || s.grant.missedRenewal.Load() > l.agreed.Load():
		return StateInDoubt
	}
	return StateHeld
}

// checkWritable is asked under data.
func (s *session) checkWritable(act string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sessionActive {
		return overError(act, s.ref, s.overReason)
	}
	return nil
}

// beginWith starts a session once its profile is made of the loaded data.
func (s *session) beginWith(b typedData) error {
	s.data.Lock()
	s.body = b
	s.data.Unlock()
	s.mu.Lock()
	if s.state.isOver() {
		defer s.mu.Unlock()
		return overError("start session", s.ref, s.overReason)
	}
	// Close ends the sessions that have begun when it begins. One that begins later would be lost without a last save.
	if s.client.life.isClosed() {
		s.mu.Unlock()
		return &Error{Act: "start session", Ref: s.ref, Kind: ErrClosed}
	}
	s.state.apply(profileLoaded)
	withoutMessages, early := s.loadedWithoutMessages, s.grant.earlyEvent()
	s.mu.Unlock()
	s.client.saver.addSession(s)
	if isClosed(s.done) { // it ended meanwhile, perhaps before it was added
		s.client.saver.removeSession(s)
	}
	s.data.Lock()
	// Loaded messages may be a page of many.
	s.inbox.due = withoutMessages || len(s.inbox.waiting) > 0
	s.data.Unlock()
	early()
	return nil
}

// hasBegun says whether the game has the session, so that it can outlive its incarnation.
func (s *session) hasBegun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.hasBegun()
}

// hasUnsavedChanges says that the store may not have all changes of the game. It is asked under mu.
func (s *session) hasUnsavedChanges() bool {
	stored := &s.saves.stored
	return s.state.hasBegun() && !(stored.known && stored.changes == s.changes.Load())
}

// freeKey makes the key free for another session of this client.
func (s *session) freeKey() {
	s.client.sessions.removeSession(s)
	s.leaveWhenIdle()
}

// leaveWhenIdle ends the goroutines that still run for a session that has left, once the fate of its last write is known.
func (s *session) leaveWhenIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.saves.running && isClosed(s.keyFreed) {
		s.stop(nil)
	}
}

// isLeaving says whether the key will become free by itself.
func (s *session) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.saves.next
	return next != nil && next.last || s.state == sessionAbandoned || s.state == sessionEnding || s.state.isOver()
}

// waitUntilLeft waits until the key is free, and looks again from time to time: an end that was refused leaves the session
// as it was.
func (s *session) waitUntilLeft(ctx context.Context) {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-s.keyFreed:
	case <-timer.C:
	case <-ctx.Done():
	}
}
