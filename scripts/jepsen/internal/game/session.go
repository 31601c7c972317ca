package game

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

const thinkTime = 120 * time.Millisecond // at most, between two saves

// playSession has one session of a shared profile: it saves some times and ends it. Some sessions are stolen, some are left for the
// hand-off to end.
func playSession(ctx context.Context, w *worker) {
	ifOwned := client.IfOwnedWait
	switch {
	case w.roll(8):
		ifOwned = client.IfOwnedSteal
	case w.roll(20):
		ifOwned = client.IfOwnedRefuse
	}
	s := w.startSession(ctx, "s-"+w.chooseKey(), ifOwned)
	if s == nil {
		w.pause(ctx, thinkTime)
		return
	}
	for n := 1 + w.random.IntN(8); n > 0 && ctx.Err() == nil; n-- {
		if !s.change(func(*history.Doc) {}) {
			break
		}
		_ = s.save(ctx) // the history has its outcome
		w.pause(ctx, thinkTime)
	}
	if w.roll(50) {
		s.change(func(*history.Doc) {}) // for the last save
	}
	s.end(ctx)
}

// playTakeover holds a session for as long as it can, saving now and then: the profile of an owner that is gone is taken over.
func playTakeover(ctx context.Context, w *worker) {
	s := w.startSession(ctx, "t-"+w.chooseKey(), client.IfOwnedRefuse)
	if s == nil {
		w.pause(ctx, thinkTime)
		return
	}
	until := time.Now().Add(time.Duration(1+w.random.IntN(20)) * time.Second)
	for ctx.Err() == nil && w.game.finishing.Err() == nil && time.Now().Before(until) && s.change(func(*history.Doc) {}) {
		_ = s.save(ctx)
		w.pause(ctx, 4*thinkTime)
	}
	s.end(ctx)
}
