package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// ErrFailed is in each error after which a node cannot go on.
var ErrFailed = errors.New("this node failed")

// Watch ends the waits for one Pebble store that does not return. After some faults of the disk Pebble's goroutines stand
// still for good, and a call that waits for them does so for ever; the node that stops because of the fault must not.
//
// A store that has failed does no more work, and may still be closed. One that is stuck cannot even be closed.
type Watch struct {
	store   string // name of the store, for errors and log lines
	log     *slog.Logger
	onFault func(error) // called from any goroutine, also with Pebble's locks held: it must not wait

	failed    chan struct{} // closed once the store has failed
	failErr   error         // written before failed is closed
	failOnce  sync.Once
	stuck     chan struct{} // closed once the store is stuck
	stickOnce sync.Once
}

// NewWatch watches a store that is about to be opened.
func NewWatch(store string, log *slog.Logger, onFault func(error)) *Watch {
	return &Watch{store: store, log: log, onFault: onFault, failed: make(chan struct{}), stuck: make(chan struct{})}
}

// Fail marks the store failed, for good, and tells the node the first time.
func (w *Watch) Fail(err error) {
	w.failOnce.Do(func() {
		w.failErr = w.wrapError(err)
		close(w.failed)
		w.onFault(w.failErr)
	})
}

// MarkStuck is Fail for a fault after which Pebble stands still.
func (w *Watch) MarkStuck(err error) {
	w.Fail(err)
	w.stickOnce.Do(func() { close(w.stuck) })
}

// Report tells the node of a fault that a call returns too, so that the store need not be marked.
func (w *Watch) Report(err error) { w.onFault(w.wrapError(err)) }

func (w *Watch) wrapError(err error) error { return fmt.Errorf("%w: %s: %w", ErrFailed, w.store, err) }

// Failed is closed once the store has failed.
func (w *Watch) Failed() <-chan struct{} { return w.failed }

// Err is the fault of a store that has failed.
func (w *Watch) Err() error { return w.failErr }

// RunUnlessFailed waits for act, but not once the store has failed. act's goroutine is then lost until the process ends. No act
// begins after the fault: Pebble panics if it is used after its Close, and the goroutine of an act that nothing waits for may
// begin late.
func RunUnlessFailed[T any](w *Watch, act func() (T, error)) (T, error) {
	return runUnless(w, w.failed, act)
}

// RunUnlessStuck is RunUnlessFailed for acts that a store which has failed still carries out.
func RunUnlessStuck[T any](w *Watch, act func() (T, error)) (T, error) {
	return runUnless(w, w.stuck, act)
}

func runUnless[T any](w *Watch, given <-chan struct{}, act func() (T, error)) (T, error) {
	var none T
	select {
	case <-given:
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
	case <-given:
		return none, w.failErr
	}
}

// Logger carries Pebble's messages into the node's log, and a fatal one to the node.
func (w *Watch) Logger() pebble.Logger { return pebbleLogger{w} }

type pebbleLogger struct{ watch *Watch }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.watch.log.Debug(fmt.Sprintf(format, args...), "from", "pebble", "store", l.watch.store)
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.watch.log.Error(fmt.Sprintf(format, args...), "from", "pebble", "store", l.watch.store)
}

// Fatalf never returns, since Pebble goes on as if all were well when it does: an append whose sync failed would be
// acknowledged. The process goes on without Pebble: this node stops, others in the process do not.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.watch.MarkStuck(fmt.Errorf(format, args...))
	select {}
}
