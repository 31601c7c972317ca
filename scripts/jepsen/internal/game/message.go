package game

import (
	"context"
	"encoding/json"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// playMessage sends messages to shared profiles, or owns one for a while and applies what comes: the effect of a message is its body
// in the data.
func playMessage(ctx context.Context, w *worker) {
	key := "m-" + w.chooseKey()
	if w.roll(70) {
		for n := 1 + w.random.IntN(4); n > 0 && ctx.Err() == nil; n-- {
			w.send(ctx, key)
			w.pause(ctx, thinkTime/4)
		}
		return
	}
	s := w.startSession(ctx, key, client.IfOwnedWait)
	if s == nil {
		w.pause(ctx, thinkTime)
		return
	}
	s.OnMessage(func(d *history.Doc, m client.Message) client.Answer {
		var body string
		if json.Unmarshal(m.Body, &body) != nil {
			return client.AnswerNotMine
		}
		s.number(d)
		d.Applied = append(d.Applied, body)
		return client.AnswerDone
	})
	until := time.Now().Add(time.Duration(w.random.Int64N(int64(2 * time.Second))))
	for ctx.Err() == nil && time.Now().Before(until) && s.Err() == nil {
		_ = s.save(ctx)
		w.pause(ctx, thinkTime)
	}
	s.end(ctx)
}
