package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// stage is how far a session has come.
type stage uint8

const (
	starting stage = iota
	held
	ending // its last save is encoded and on its way
	over
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
// Locks: data before mu before Client.mu. Nothing waits while it holds one of them. The game's functions run under data,
// for as long as they like, so whatever waits for data holds nothing that another profile needs: no number, no turn, no
// place among those that fetch.
type session struct {
	client   *Client
	ref      Ref
	ctx      context.Context // of its writes; ends when no caller could want their outcome any more
	stop     context.CancelCauseFunc
	done     chan struct{} // closed when it is over
	turn     chan struct{} // holds one value while a write is under way, or the session changes its incarnation
	keyFreed chan struct{} // closed when the key is free for another session of this client

	data            profileLock
	body            typedData
	inbox           inbox
	messagesLater   atomic.Bool   // a handler wants to be given a message again
	changes         atomic.Uint64 // rises with each change, under data
	hasSaveHandlers atomic.Bool   // a handler wants to run before each save

	kept    atomic.Bool   // it is over, and its last copy is to be saved when the cluster is back; set under mu
	keeping chan struct{} // closed when that begins

	mu                 sync.Mutex
	incarnation        *incarnation
	incarnationChanged chan struct{} // closed and replaced when incarnation changes
	stage              stage
	startGivenUp       bool   // up, by the StartSession that made it
	token              uint64 // 0 while starting
	ticket             uint64 // while it waits
	granted            chan struct{}
	earlyGrants        []*profilev1.Granted // came before the ticket was known
	releaseRequested   uint64               // token of the grant that another game server waits for
	operator           bool                 // an operator does
	revokedToken       uint64               // token that was heard to be revoked
	cause              profilev1.Cause      // why
	begun              bool
	panicked           bool // the game's code did, and a release of its own is on the way
	handingOff         bool // a hand-off is under way
	revision           uint64
	loads              uint64
	loadedLate         bool        // without messages
	stored             encodedData // as last acknowledged; without data
	unstorable         unstorable
	frozen             bool     // the last save is encoded: a change would be lost; set under data too
	clearedMessages    []uint64 // messages that a save has cleared, and inbox does not know yet
	nextSave           *saveRequest
	currentSave        *saveRequest
	lastCopy           *saveRequest    // of a session that is over, kept until the cluster is back
	savesRunning       bool            // a goroutine writes
	changesInFlight    uint64          // changes that the write under way carries, or the last one did
	lastSaveUnclear    bool            // the outcome of that write is not known
	unanswered         *pendingOutcome // the outcome of that write, once it is settled
	failures           int             // of saves in a row
	fetching           bool
	refetch            bool                      // once more, when the fetch under way is done
	pushedMessages     []*profilev1.MessageWaits // to be taken over
	morePushed         bool                      // there are others, which must be fetched
	offerAgain         bool                      // messages that handlers wanted later
	overReason         error
	ended              EndReason // why, if the game or a hand-off ended it
	ending             End       // how, once it is over
	onEnd              handlerList[func(End)]
	onSaved            handlerList[func(Saved)]
	saves              handlerQueue // in which the handlers of onSaved run

	since         uint64        // the last renewal that did not yet name the token; guarded by Client.mu
	missedRenewal atomic.Uint64 // number of the renewal with an answer that did not list it; 0: none, or it was looked up since
}

func newSession(c *Client, ref Ref) *session {
	s := &session{
		client: c, ref: ref, data: newProfileLock(),
		done: make(chan struct{}), keyFreed: make(chan struct{}), granted: make(chan struct{}),
		keeping: make(chan struct{}), turn: make(chan struct{}, 1), incarnationChanged: make(chan struct{}),
	}
	s.ctx, s.stop = context.WithCancelCause(c.ctx)
	return s
}

// currentState computes the state afresh at each call: it depends on the time.
func (s *session) currentState() State {
	s.mu.Lock()
	l, at := s.incarnation, s.stage
	s.mu.Unlock()
	switch {
	case at != held:
		return StateOver
	case isClosed(l.over) || l.lease.isInDoubt() || s.missedRenewal.Load() > l.agreed.Load():
		return StateInDoubt
	}
	return StateHeld
}

// checkWritable is asked under data.
func (s *session) checkWritable(act string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage == over || s.frozen {
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
	if s.stage == over {
		defer s.mu.Unlock()
		return overError("start session", s.ref, s.overReason)
	}
	// Close ends the sessions that have begun when it begins. One that begins later would be lost without a last save.
	s.client.mu.Lock()
	closed := s.client.closed
	s.client.mu.Unlock()
	if closed {
		s.mu.Unlock()
		return &Error{Act: "start session", Ref: s.ref, Kind: ErrClosed}
	}
	s.begun = true
	asked, lost, token, waited := s.releaseRequested, s.revokedToken, s.token, s.loadedLate
	operator, cause := s.operator, s.cause
	s.mu.Unlock()
	s.client.saver.addSession(s)
	if isClosed(s.done) { // it ended meanwhile, perhaps before it was added
		s.client.saver.removeSession(s)
	}
	s.data.Lock()
	// Loaded messages may be a page of many, and none were loaded after a wait.
	s.inbox.due = waited || len(s.inbox.waiting) > 0
	s.data.Unlock()
	if lost == token {
		s.handleRevoked(token, cause)
	} else if asked == token {
		s.requestedToLetGo(token, operator)
	}
	return nil
}

// loseSession ends a session that the log has ended, and says so there, since the next owner waits for that.
func (s *session) loseSession(why error) {
	s.finishSession(why)
	s.dropKeptGrant()
	s.mu.Lock()
	l, token, panicked := s.incarnation, s.token, s.panicked
	s.mu.Unlock()
	if panicked {
		return // a release without the count of its panics would fence the one that has it
	}
	reason, _ := endedBy(why)
	s.client.releaseInBackground(l, heldGrant{s.ref, token}, reason, s.freeKey)
}

// hasBegun says whether the game has the session, so that it can outlive its incarnation.
func (s *session) hasBegun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// finishSession makes the session over, once. why is nil if the game ended it.
func (s *session) finishSession(why error) {
	s.mu.Lock()
	if s.stage == over {
		s.mu.Unlock()
		return
	}
	s.stage, s.overReason = over, why
	next := s.nextSave
	s.nextSave = nil
	s.ending = s.endOf(why)
	end := s.ending
	close(s.done)
	l, token := s.incarnation, s.token
	if next != nil && why != nil && s.currentSaveHasAll() {
		s.currentSave.joinedSaves, next = append(s.currentSave.joinedSaves, next), nil
	}
	fate := s.correctByOutcome(overError("save", s.ref, why))
	s.mu.Unlock()

	c := s.client
	if token != 0 {
		c.counters.addEnd(why)
	}
	if token != 0 && why != nil && !errors.Is(why, ErrClosed) {
		c.config.Log.Warn("a session is lost", "profile", s.ref.String(), "code", string(CodeSessionLost), "why", why,
			"unsaved_changes", end.Unsaved)
	}
	c.mu.Lock()
	if l != nil && !s.kept.Load() {
		l.dropGrant(s, token)
		c.forgetPastIncarnations()
	}
	c.mu.Unlock()
	c.saver.removeSession(s)
	if next != nil {
		next.finishSave(fate, s.knownRevision())
	}
	s.onEnd.callEach(0, func(f func(End)) bool {
		s.runEndHandler(f, end)
		return true
	})
}

// freeKey makes the key free for another session of this client.
func (s *session) freeKey() {
	c := s.client
	c.mu.Lock()
	if c.sessions[s.ref] == s {
		delete(c.sessions, s.ref)
		close(s.keyFreed)
	}
	c.mu.Unlock()
	s.leaveWhenIdle()
}

// leaveWhenIdle ends the goroutines that still run for a session that has left, once the fate of its last write is known.
func (s *session) leaveWhenIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.savesRunning && isClosed(s.keyFreed) {
		s.stop(nil)
	}
}

// isLeaving says whether the key will become free by itself.
func (s *session) isLeaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := s.nextSave != nil && s.nextSave.last
	return s.startGivenUp || ends || s.stage == ending || s.stage == over
}

// endOf is asked under mu.
func (s *session) endOf(why error) End {
	end := End{Ref: s.ref, Reason: s.ended, Err: why}
	if why != nil {
		end.Reason, end.By = endedBy(why)
		end.Unsaved = s.begun && !(s.stored.known && s.stored.changes == s.changes.Load())
	}
	return end
}

// callWhenOver runs f once when the session is over, at once if it is.
func (s *session) callWhenOver(f func(End)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != over {
		return s.onEnd.addHandler(f)
	}
	end := s.ending
	s.runEndHandler(f, end)
	return func() {}
}

func (s *session) runEndHandler(f func(End), end End) {
	s.client.startHandler(func() { s.client.runHandlerAlone("OnSessionEnd", s.ref, func() { f(end) }) })
}

// runSavedHandlers tells the handlers of OnAfterSave, one save after the other.
func (s *session) runSavedHandlers(saved Saved) {
	if s.onSaved.isEmpty() {
		return
	}
	s.saves.enqueue(func() {
		s.onSaved.callEach(0, func(f func(Saved)) bool {
			s.client.runHandlerAlone("OnAfterSave", s.ref, func() { f(saved) })
			return true
		})
	}, s.client.startHandler)
}

func (s *session) knownRevision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// waitLeft waits until the key is free, and looks again from time to time: an end that was refused leaves the session
// as it was.
func (s *session) waitLeft(ctx context.Context) {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-s.keyFreed:
	case <-timer.C:
	case <-ctx.Done():
	}
}
