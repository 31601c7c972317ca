package wire

import (
	"context"
	"sync"
	"time"
)

// transferTimeout is the timeout of a context. Its clock stands still while a request of the context is transferred.
type transferTimeout struct {
	began time.Time
	limit time.Duration
	end   func()

	mu       sync.Mutex
	answered time.Duration               // that the transfers of answered requests took
	underWay map[*transferWatch]struct{} // of the requests without an answer so far
	timer    *time.Timer
}

type timeoutKey struct{}

// WithTimeout returns a context that ends once limit has passed, not counted the time in which its requests and answers are
// transferred, as far as the slowest link that is served would need it too: a large answer that comes over a slow link is
// waited for. A copy that ends without an answer counts in full, so copies that break off late do not go on without end. The
// cause of the end is context.DeadlineExceeded.
func WithTimeout(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithCancelCause(ctx)
	t := &transferTimeout{
		began: time.Now(), limit: limit, end: func() { cancel(context.DeadlineExceeded) }, underWay: make(map[*transferWatch]struct{}),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(limit, t.endIfDue)
	return context.WithValue(bounded, timeoutKey{}, t), func() {
		t.mu.Lock()
		t.timer.Stop()
		t.mu.Unlock()
		cancel(nil)
	}
}

// timeoutOf is nil if the context has none.
func timeoutOf(ctx context.Context) *transferTimeout {
	t, _ := ctx.Value(timeoutKey{}).(*transferTimeout)
	return t
}

func (t *transferTimeout) endIfDue() {
	t.mu.Lock()
	defer t.mu.Unlock()
	transfers := t.answered
	for w := range t.underWay {
		transfers += w.timeTaken()
	}
	if left := t.limit + transfers - time.Since(t.began); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.end()
}

func (t *transferTimeout) beginTransfer(w *transferWatch) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay[w] = struct{}{}
}

func (t *transferTimeout) endTransfer(w *transferWatch, answered bool) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.underWay, w)
	if answered {
		t.answered += w.timeTaken()
	}
}
