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

// scribble is a session that is saved again and again.
type scribble struct {
	drop  chan struct{} // closed to end it
	ended chan struct{} // closed when it has

	mu  sync.Mutex
	all []try
	new chan struct{} // closed and made anew with each
}

// scribble saves until it is dropped, or for a few times after the session is over. What it does not know it does not
// stop at: an owner that was paused or cut off goes on as if nothing had been.
func (g *game) scribble(p *client.Profile[play], s *scribble, every time.Duration) {
	defer close(s.ended)
	for over := 0; over < scribbleEnd && g.life.Err() == nil; {
		t := try{began: thisMoment()}
		t.fault = g.save(g.life, p)
		t.ended = thisMoment()
		var e *client.Error
		t.refused = errors.As(t.fault, &e) && e.Code != ""
		s.note(t)
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

func (s *scribble) note(t try) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, t)
	close(s.new)
	s.new = make(chan struct{})
}

// saved waits for an acknowledged save that was begun after a moment.
func (s *scribble) saved(ctx context.Context, after moment) (moment, error) {
	return s.first(ctx, func(t try) bool { return t.began > after })
}

// acknowledged waits for a save that was acknowledged after a moment.
func (s *scribble) acknowledged(ctx context.Context, after moment) (moment, error) {
	return s.first(ctx, func(t try) bool { return t.ended > after })
}

// first waits for an acknowledged save of a kind, and returns when that was.
func (s *scribble) first(ctx context.Context, wanted func(try) bool) (moment, error) {
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
