package testbed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
)

// triesAfterEnd is how many saves follow once the session is known to be over.
const triesAfterEnd = 3

// save is one save, by an owner that may have lost its profile.
type save struct {
	began, ended measure.Moment
	fault        error
	refused      bool // by a node, and not by this process alone
}

// saver is a session that is saved again and again.
type saver struct {
	ended chan struct{} // closed when no more saves follow

	mu   sync.Mutex
	all  []save
	more chan struct{} // closed and replaced with each save
}

// keepSaving saves until ctx ends, or for a few times after the session is over. No other error stops it: an owner that was
// paused or cut off goes on as if nothing had happened.
func (g *gameLoop) keepSaving(ctx context.Context, p *client.Profile[playerData], s *saver, every time.Duration) {
	defer close(s.ended)
	for over := 0; over < triesAfterEnd && ctx.Err() == nil; measure.Sleep(ctx, every) {
		one := save{began: measure.Now()}
		one.fault = g.saveProfile(ctx, p)
		one.ended = measure.Now()
		var e *client.Error
		one.refused = errors.As(one.fault, &e) && e.Code != ""
		s.note(one)
		if errors.Is(one.fault, client.ErrSessionOver) {
			over++
		}
	}
}

func (s *saver) note(one save) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, one)
	close(s.more)
	s.more = make(chan struct{})
}

// lastFault returns the error of the last save: why the session is over.
func (s *saver) lastFault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return errors.New("there was none")
	}
	return s.all[len(s.all)-1].fault
}

// waitForSave waits for an acknowledged save of a kind, and returns the moment of its acknowledgement.
func (s *saver) waitForSave(ctx context.Context, wanted func(save) bool) (measure.Moment, error) {
	for seen := 0; ; {
		s.mu.Lock()
		all, more := s.all, s.more
		s.mu.Unlock()
		for ; seen < len(all); seen++ {
			if one := all[seen]; one.fault == nil && wanted(one) {
				return one.ended, nil
			}
		}
		select {
		case <-more:
		case <-s.ended:
			return 0, fmt.Errorf("no more saves follow: %w", s.lastFault())
		case <-ctx.Done():
			return 0, fmt.Errorf("no save was acknowledged: %w", ctx.Err())
		}
	}
}

// countLate counts the saves without an answer at the moment at which another game server's session had begun. A save that
// was begun before, and is acknowledged later, does not count: it landed in time, and its owner was stopped before it could
// read the answer.
func countLate(taken measure.Moment, all []save) (c LateSaves) {
	for _, one := range all {
		switch {
		case one.ended <= taken, one.fault == nil && one.began <= taken:
			continue
		case one.fault == nil:
			c.Landed++
		case one.refused:
			c.Refused++
		}
		c.Tried++
	}
	return c
}
