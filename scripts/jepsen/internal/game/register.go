package game

import (
	"context"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// playRegister does one thing with a profile that many share: read it, set it at the revision that was read or at any, or save it in
// a short session.
func playRegister(ctx context.Context, w *worker) {
	key := "r-" + w.chooseKey()
	switch roll := w.random.IntN(10); {
	case roll < 4:
		w.get(ctx, key)
	case roll < 6:
		if revision, _, ok := w.get(ctx, key); ok {
			w.set(ctx, key, history.Doc{Writer: w.unique("set"), Seq: 1}, revision)
		}
	case roll < 7:
		w.set(ctx, key, history.Doc{Writer: w.unique("set"), Seq: 1}, history.AnyRevision, client.Force())
	default:
		s := w.startSession(ctx, key, client.IfOwnedWait)
		if s == nil {
			return
		}
		if s.change(func(*history.Doc) {}) {
			_ = s.save(ctx)
		}
		s.end(ctx)
	}
	w.pause(ctx, thinkTime/4)
}
