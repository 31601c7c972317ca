package client

import (
	"context"
	"sync"
)

// lifetime says how far a client has come on its way from Open to the end of Close, and counts its goroutines.
type lifetime struct {
	ctx    context.Context // ends when Close is done or has run out of time
	cancel context.CancelFunc

	open          context.Context // ends when Close begins
	shut          context.CancelFunc
	done          chan struct{} // closed once endWhy is set
	sayingGoodbye chan struct{} // closed when the goodbye is said: an end after that is intended

	mu     sync.Mutex     // guards all below
	tasks  sync.WaitGroup // added to while not ended
	ended  bool           // no goroutine begins any more
	closed bool           // Close has begun
	endWhy error          // nil while the client lives
}

// begin makes the contexts of a client that is being opened.
func (t *lifetime) begin() {
	t.done, t.sayingGoodbye = make(chan struct{}), make(chan struct{})
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.open, t.shut = context.WithCancel(t.ctx)
}

// startGoroutine runs a goroutine that Close joins. It returns false, and runs nothing, once Close has begun to.
func (t *lifetime) startGoroutine(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.tasks.Go(f)
	return true
}

// stopBackground ends every goroutine of the client but those in which the game's own handlers run.
func (t *lifetime) stopBackground() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.cancel()
}

// beginClose says whether this is the first Close.
func (t *lifetime) beginClose() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.closed
	t.closed = true
	return first
}

// endForGood notes that the client has ended without Close. false: it has ended, or is being closed.
func (t *lifetime) endForGood(why error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.endWhy != nil || t.closed {
		return false
	}
	t.endWhy = why
	close(t.done)
	return true
}

// markClosed notes that Close has ended the client, unless something else had.
func (t *lifetime) markClosed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.endWhy == nil {
		t.endWhy = ErrClosed
		close(t.done)
	}
}

// isClosed says that Close has begun.
func (t *lifetime) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// isOver says that Close has begun, or that the client has ended otherwise.
func (t *lifetime) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed || t.endWhy != nil
}

// reason is why the client has ended; nil while it lives.
func (t *lifetime) reason() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endWhy
}

// whileOpen is ctx as long as the client is open.
func (t *lifetime) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.open, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
