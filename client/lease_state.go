package client

import (
	"sync"
	"time"

	"github.com/profilenode/profilenode/lock"
)

// State is the state of a session.
type State uint8

const (
	// StateHeld: the profile is this game server's, and no other's.
	StateHeld State = iota
	// StateInDoubt: the cluster has not been heard for a while, so another game server may own the profile soon. Play on if
	// you like, but let nothing leave the profile: no trades, no payments. It goes back to StateHeld by itself, or is
	// StateOver.
	StateInDoubt
	// StateOver: the session has ended, or its last save is on its way.
	StateOver
)

func (s State) String() string {
	switch s {
	case StateHeld:
		return "held"
	case StateInDoubt:
		return "in doubt"
	}
	return "over"
}

// leaseState is the owner's half of the lease argument. Nothing in it fires: it is computed at every look, since a
// process that was stopped wakes up with timers that have not run and channels that are still open.
type leaseState struct {
	now    func() time.Time
	timing lock.Timing

	mu        sync.Mutex
	confirmed time.Time // departure of the last renewal with an answer that renewed; zero: none yet
	failed    time.Time // when the newest renewal left that failed
}

// confirmUntil notes a renewal by the time when it left. Its answer renewed the lease.
func (s *leaseState) confirmUntil(sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.confirmed.IsZero() || sent.Sub(s.confirmed) > 0 {
		s.confirmed = sent
	}
}

// noteFailed notes that a renewal that left at a time, or was to leave, got no answer that renews.
func (s *leaseState) noteFailed(sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed.IsZero() || sent.Sub(s.failed) > 0 {
		s.failed = sent
	}
}

// isInDoubt counts by whichever clock says more: the monotonic one stands still while a machine is suspended, the wall
// clock may be set back.
func (s *leaseState) isInDoubt() bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.confirmed.IsZero() {
		return true
	}
	return s.timing.InDoubt(max(now.Sub(s.confirmed), now.Round(0).Sub(s.confirmed.Round(0))))
}

// doubtExceeds says whether the game's limit for doubt ran out and one more try, begun after that, failed. It counts by the
// monotonic clock alone: a process that was suspended gets that try first.
func (s *leaseState) doubtExceeds(limit time.Duration) bool {
	limit = max(limit, s.timing.Doubt)
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.confirmed.IsZero() && !s.failed.IsZero() && now.Sub(s.confirmed) >= limit && s.failed.Sub(s.confirmed) >= limit
}
