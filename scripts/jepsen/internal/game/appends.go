package game

import (
	"context"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// playAppend appends some numbers, each unique, to the list inside a profile, in one session; or it reads the list.
func playAppend(ctx context.Context, w *worker) {
	key := "a-" + w.chooseKey()
	if w.roll(30) {
		w.get(ctx, key)
		w.pause(ctx, thinkTime/4)
		return
	}
	s := w.startSession(ctx, key, client.IfOwnedWait)
	if s == nil {
		w.pause(ctx, thinkTime)
		return
	}
	for n := 1 + w.random.IntN(4); n > 0 && ctx.Err() == nil; n-- {
		if !s.change(func(d *history.Doc) { d.List = append(d.List, w.nextNumber()) }) {
			break
		}
		_ = s.save(ctx)
	}
	s.end(ctx)
}

// nextNumber is a number that nothing else in the run appends.
func (w *worker) nextNumber() int {
	w.count++
	return int(w.game.settings.Seed%100_000)*10_000_000 + w.id*100_000 + w.count
}
