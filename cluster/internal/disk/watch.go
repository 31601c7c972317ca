package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// ErrFailed is wrapped by every error after which a node cannot go on.
var ErrFailed = errors.New("this node failed")

// Watch ends the waits for one Pebble store after a fault of the disk. After some faults goroutines of Pebble never
// continue, and a call that waits for them never returns. The node stops because of the fault, and its stop must not wait
// for them.
//
// A store is in one of three states. Once it has failed, no more work begins on it, but it can be closed. Once it is
// stuck, it cannot be closed either. It never returns to an earlier state.
type Watch struct {
	store   string // name of the store, for errors and log lines
	log     *slog.Logger
	onFault func(error) // stops the node; called from any goroutine, also with Pebble's locks held: it must not block

	failed    chan struct{} // closed once the store has failed
	failErr   error         // the first fault; it may be read once failed is closed
	failOnce  sync.Once
	stuck     chan struct{} // closed once the store is stuck, which is after failed
	stickOnce sync.Once
}

// NewWatch returns a Watch for a store that is about to be opened. store is its name in errors and log lines. onFault is
// called with each fault that the Watch is told of; it must not block.
func NewWatch(store string, log *slog.Logger, onFault func(error)) *Watch {
	return &Watch{store: store, log: log, onFault: onFault, failed: make(chan struct{}), stuck: make(chan struct{})}
}

// Fail marks the store as failed, and calls onFault the first time.
func (w *Watch) Fail(err error) {
	w.failOnce.Do(func() {
		w.failErr = w.wrapError(err)
		close(w.failed)
		w.onFault(w.failErr)
	})
}

// MarkStuck is Fail for a fault after which calls of Pebble do not return. It marks the store as stuck, too.
func (w *Watch) MarkStuck(err error) {
	w.Fail(err)
	w.stickOnce.Do(func() { close(w.stuck) })
}

// Report calls onFault without marking the store as failed. It is for a fault that a call returns as well.
func (w *Watch) Report(err error) { w.onFault(w.wrapError(err)) }

func (w *Watch) wrapError(err error) error { return fmt.Errorf("%w: %s: %w", ErrFailed, w.store, err) }

// Failed is closed once the store has failed.
func (w *Watch) Failed() <-chan struct{} { return w.failed }

// Err returns the first fault. It must be called only once Failed is closed.
func (w *Watch) Err() error { return w.failErr }

// RunUnlessFailed runs act in a goroutine and returns its results. If the store fails meanwhile, it returns the fault at
// once; the goroutine may then remain until the process ends. If the store has failed before, it returns the fault and
// does not start act: the store may be closed already, and Pebble panics if it is used after its Close.
func RunUnlessFailed[T any](w *Watch, act func() (T, error)) (T, error) {
	return runUnless(w, w.failed, act)
}

// RunUnlessStuck is RunUnlessFailed for work that a failed store can still do, as long as it is not stuck.
func RunUnlessStuck[T any](w *Watch, act func() (T, error)) (T, error) {
	return runUnless(w, w.stuck, act)
}

// runUnless runs act, and returns the fault instead once givenUp is closed.
func runUnless[T any](w *Watch, givenUp <-chan struct{}, act func() (T, error)) (T, error) {
	var none T
	select {
	case <-givenUp:
		return none, w.failErr
	default:
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := act()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-givenUp:
		return none, w.failErr
	}
}

// Logger returns the logger for Pebble. It writes Pebble's messages to the node's log, and a fatal one marks the store as
// stuck.
func (w *Watch) Logger() pebble.Logger { return pebbleLogger{w} }

type pebbleLogger struct{ watch *Watch }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.watch.log.Debug(fmt.Sprintf(format, args...), "from", "pebble", "store", l.watch.store)
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.watch.log.Error(fmt.Sprintf(format, args...), "from", "pebble", "store", l.watch.store)
}

// Fatalf marks the store as stuck and never returns. If it returned, Pebble would continue as if nothing had happened,
// and an append would be acknowledged although its sync failed. Pebble's own logger ends the process; here only this node
// stops.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.watch.MarkStuck(fmt.Errorf(format, args...))
	select {}
}
