package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/profilenode/profilenode/client"
)

// scribbleEnd is how many tries follow once the session is known to be over.
const scribbleEnd = 3

// staleWriter is a session that is saved again and again.
type staleWriter struct {
	drop  chan struct{} // closed to end it
	ended chan struct{} // closed when it has

	mu  sync.Mutex
	all []staleWrite
	new chan struct{} // closed and made anew with each
}

// writeWhileStale saves until it is dropped, or for a few times after the session is over. What it does not know it does not
// stop at: an owner that was paused or cut off goes on as if nothing had been.
func (g *gameLoop) writeWhileStale(p *client.Profile[playerDoc], s *staleWriter, every time.Duration) {
	defer close(s.ended)
	for over := 0; over < scribbleEnd && g.life.Err() == nil; {
		t := staleWrite{began: monotonicNow()}
		t.fault = g.saveProfile(g.life, p)
		t.ended = monotonicNow()
		var e *client.Error
		t.refused = errors.As(t.fault, &e) && e.Code != ""
		s.noteWrite(t)
		if errors.Is(t.fault, client.ErrSessionOver) {
			over++
		}
		select {
		case <-s.drop:
			return
		case <-time.After(every):
		}
	}
}

func (s *staleWriter) noteWrite(t staleWrite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, t)
	close(s.new)
	s.new = make(chan struct{})
}

// waitSaved waits for an acknowledged save that was begun after a moment.
func (s *staleWriter) waitSaved(ctx context.Context, after monotonicTime) (monotonicTime, error) {
	return s.firstMatching(ctx, func(t staleWrite) bool { return t.began > after })
}

// waitAcknowledged waits for a save that was acknowledged after a moment.
func (s *staleWriter) waitAcknowledged(ctx context.Context, after monotonicTime) (monotonicTime, error) {
	return s.firstMatching(ctx, func(t staleWrite) bool { return t.ended > after })
}

// firstMatching waits for an acknowledged save of a kind, and returns when that was.
func (s *staleWriter) firstMatching(ctx context.Context, wanted func(staleWrite) bool) (monotonicTime, error) {
	for seen := 0; ; {
		s.mu.Lock()
		all, next := s.all, s.new
		s.mu.Unlock()
		for ; seen < len(all); seen++ {
			if t := all[seen]; t.fault == nil && wanted(t) {
				return t.ended, nil
			}
		}
		select {
		case <-next:
		case <-s.ended:
			return 0, errors.New("the session is over")
		case <-ctx.Done():
			return 0, fmt.Errorf("no save was acknowledged: %w", ctx.Err())
		}
	}
}
