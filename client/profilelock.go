package client

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/internal/wire"
)

// A lock that is held for longer than lockHeldLong is reported; every lockLook the locks are looked at.
const (
	lockHeldLong = time.Second
	lockLook     = 250 * time.Millisecond
)

// profileLock is the lock of one profile. Functions of the game run under it, for as long as they like: so nothing that
// other profiles need is held by a goroutine that waits for it, and every wait of this package's own can be given up.
type profileLock struct {
	holder chan struct{} // holds one value while the lock is held
	holds  atomic.Uint64 // rises when it is taken and when it is given back: odd while it is held
}

func newProfileLock() profileLock { return profileLock{holder: make(chan struct{}, 1)} }

// Lock waits without a bound. Only calls of the game do.
func (l *profileLock) Lock() {
	l.holder <- struct{}{}
	l.holds.Add(1)
}

// lockUnless waits for the lock, and returns false without it when one of the channels is closed first.
func (l *profileLock) lockUnless(over, ended <-chan struct{}) bool {
	select {
	case <-over:
		return false
	case <-ended:
		return false
	default:
	}
	select {
	case l.holder <- struct{}{}:
		l.holds.Add(1)
		return true
	case <-over:
	case <-ended:
	}
	return false
}

// Unlock gives the lock back.
func (l *profileLock) Unlock() {
	l.holds.Add(1)
	<-l.holder
}

// watchLocks reports each profile's lock that is held for longer than lockHeldLong, once for each time.
func (c *Client) watchLocks() {
	type hold struct {
		number   uint64
		since    time.Time
		reported bool
	}
	seen := make(map[*session]hold)
	for wire.SleepUnlessDone(c.life.ctx, lockLook) {
		now := time.Now()
		held := make(map[*session]hold)
		for _, s := range c.sessions.allSessions() {
			number := s.data.holds.Load()
			if number%2 == 0 {
				continue
			}
			h := seen[s]
			if h.number != number {
				h = hold{number: number, since: now}
			}
			if !h.reported && now.Sub(h.since) > lockHeldLong {
				h.reported = true
				c.handlers.reportError(&Error{
					Act: "lock", Ref: s.ref, Kind: ErrInvalid, Code: CodeLockHeld,
					Sentence: fmt.Sprintf("a function of the game has held the profile's lock for more than %v, so that it can neither be "+
						"saved nor read: it must not block, and must not call Update or Read of the same profile", lockHeldLong),
				})
			}
			held[s] = h
		}
		seen = held
	}
}
