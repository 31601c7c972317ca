package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	drainLimit  = 2 * time.Second      // how long a stop waits for entries in flight
	drainPeriod = 5 * time.Millisecond // how often it checks whether they are answered
)

// lifecycle holds how far a node's stop has come, and the goroutines that the stop waits for. Its contexts end in this
// order, of which a fault takes the first three steps at once: closing, hurried, ended, running. A stop without a fault
// ends running before ended.
type lifecycle struct {
	closing context.Context // ends when a stop begins: nothing new is begun
	hurried context.Context // ends when the stop shall hand over nothing any more
	running context.Context // ends just before raft is shut down; of all goroutines that use raft
	ended   context.Context // ends when the node has stopped or failed; its cause is the fault, or errStopped

	beginStop  context.CancelFunc
	hurry      context.CancelFunc
	endRunning context.CancelFunc
	end        context.CancelCauseFunc

	onFailure func(error) // called once, by the first fault, before ended ends; must not block
	failed    atomic.Bool

	starting       sync.Mutex     // held while parts are started; a stop waits for it, and then nothing is started any more
	goroutines     sync.WaitGroup // all goroutines of the node but those that pendingFutures counts
	pendingFutures atomic.Int64   // goroutines that wait for raft to answer a future

	stopped  chan struct{} // closed when nothing of this node runs any more
	closeErr error         // written before stopped is closed
}

// newLifecycle returns the lifecycle of a node that runs. shutDown is called in a goroutine of its own when a stop begins.
func newLifecycle(onFailure func(error), shutDown func()) *lifecycle {
	c := &lifecycle{onFailure: onFailure, stopped: make(chan struct{})}
	c.closing, c.beginStop = context.WithCancel(context.Background())
	c.hurried, c.hurry = context.WithCancel(context.Background())
	c.running, c.endRunning = context.WithCancel(context.Background())
	c.ended, c.end = context.WithCancelCause(context.Background())
	context.AfterFunc(c.closing, shutDown)
	return c
}

// start runs begin, which starts parts of the node, unless a stop has begun. A stop waits until begin has returned.
func (c *lifecycle) start(begin func() error) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.closing.Err() != nil {
		return ErrClosed
	}
	return begin()
}

// fail stops the node because of a fault. It must not block: raft and Pebble call it with their locks held.
func (c *lifecycle) fail(err error) {
	if !c.failed.CompareAndSwap(false, true) {
		return
	}
	c.onFailure(err)
	c.end(err)
	c.hurry()
	c.beginStop()
}

// failure returns the fault that ended the node, nil if there was none.
func (c *lifecycle) failure() error {
	if err := context.Cause(c.ended); err != errStopped {
		return err
	}
	return nil
}

// finish says that nothing of the node runs any more. err is the error of Close; a fault is reported by failure instead.
func (c *lifecycle) finish(err error) {
	if c.failure() == nil {
		c.closeErr = err
	}
	close(c.stopped)
	c.end(errStopped)
}

// goFuture runs wait in a goroutine and counts it. wait blocks on a future of raft, which raft may never answer, so a stop
// does not join these goroutines; it only gives them drainLimit.
func (c *lifecycle) goFuture(wait func()) {
	c.pendingFutures.Add(1)
	go func() {
		defer c.pendingFutures.Add(-1)
		wait()
	}()
}

// drainFutures waits until raft has answered all futures, for at most drainLimit.
func (c *lifecycle) drainFutures() {
	for until := time.Now().Add(drainLimit); c.pendingFutures.Load() > 0 && time.Now().Before(until); {
		time.Sleep(drainPeriod)
	}
}

// errStopped is the cause of an end without a fault.
var errStopped = errors.New("this node has stopped")

// errStopping leaves an entry's outcome unknown. ErrClosed would be wrong in its place: it is a refusal.
var errStopping = errors.New("this node is stopping")

// waitForFuture waits for raft's answer, for ctx, or for this node's stop, since raft leaves some futures unanswered when
// it shuts down.
func (c *lifecycle) waitForFuture(ctx context.Context, f raft.Future) error {
	answer := make(chan error, 1)
	c.goFuture(func() { answer <- f.Error() })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.running.Done():
		return errStopping
	}
}

// waitUntilStarted returns when no parts are being started. Since closing has ended, none will be.
func (c *lifecycle) waitUntilStarted() {
	c.starting.Lock()
	defer c.starting.Unlock()
}
