package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	drainLimit  = 2 * time.Second      // how long a stop waits for entries in flight
	drainPeriod = 5 * time.Millisecond // how often it checks whether they are answered
)

// Close stops this node: it refuses new commands, hands leadership over and releases the data folder. If ctx ends before
// that, leadership is not handed over; if the node is not stopped drainLimit later, Close returns an error and the stop goes
// on in the background.
func (n *Node) Close(ctx context.Context) error {
	n.beginStop()
	select {
	case <-n.stopped:
		return n.closeErr
	case <-ctx.Done():
	}
	n.closeNowOnce.Do(func() { close(n.closeNow) })
	select {
	case <-n.stopped:
		return n.closeErr
	case <-time.After(drainLimit):
		return fmt.Errorf("close node: it is not down yet: %w", ctx.Err())
	}
}

// fail stops this node because of a fault. When it returns, all connections to other nodes are closed, so that no answer
// based on the fault leaves this node. It must not block: raft and Pebble call it with their locks held.
func (n *Node) fail(err error) {
	err = n.explainDamage(n.explainIfFull(err))
	if !n.failure.CompareAndSwap(nil, &err) {
		return
	}
	cause, part := stopCause(err)
	n.log.Error("this node stops", "error", err, "code", "STOPS", "cause", cause, "part", part)
	if n.port != nil {
		n.port.CloseConns()
	}
	n.closeNowOnce.Do(func() { close(n.closeNow) })
	n.doneOnce.Do(func() { close(n.done) })
	n.beginStop()
}

// failIn is fail for the faults of one part of the data folder.
func failIn(part string, fail func(error)) func(error) {
	return func(err error) { fail(&partError{err, part}) }
}

// partError is the fault of a part of the data folder: log, votes or tables.
type partError struct {
	error
	part string
}

func (e *partError) Unwrap() error { return e.error }

// stopCause is the fault that stops a node, and the part of the data folder that it met, for programs that read the log.
func stopCause(err error) (cause, part string) {
	var full *diskFullError
	var of *partError
	cause = "FAULT"
	if errors.As(err, &full) {
		cause = full.cause
	}
	if errors.As(err, &of) {
		part = of.part
	}
	return cause, part
}

func (n *Node) beginStop() {
	n.stopOnce.Do(func() {
		close(n.closing)
		go n.shutDown() // Close waits for it through the channel stopped
	})
}

// shutDown stops the parts in the reverse order of openParts: each step still uses the parts that are stopped after it.
func (n *Node) shutDown() {
	<-n.openDone
	n.joining.Wait() // findCluster may be starting raft
	var errs []error
	if n.raftIfRunning() != nil {
		n.handOverLeadership()
	}
	if n.nodeGossip != nil {
		errs = append(errs, n.closeGossip(n.nodeGossip))
	}
	if n.serverGossip != nil {
		errs = append(errs, n.closeGossip(n.serverGossip))
	}
	if n.port != nil {
		n.port.CloseConns() // without followers a leader steps down within its lease, and answers entries in flight
	}
	n.cancel()
	n.leadership.mu.Lock()
	n.leadership.closed = true
	n.leadership.mu.Unlock()
	n.leadership.goroutines.Wait()
	n.drainFutures() // raft leaves some futures unanswered when it shuts down
	if r := n.raftIfRunning(); r != nil {
		if err := r.Shutdown().Error(); err != nil {
			errs = append(errs, fmt.Errorf("stop raft: %w", err))
		}
	}
	close(n.raftDown)
	if n.port != nil {
		n.port.Close()
	}
	n.goroutines.Wait()
	if n.tables != nil {
		errs = append(errs, n.tables.close())
	}
	if n.storage != nil {
		errs = append(errs, n.storage.closeStores())
	}
	if n.folder != nil {
		errs = append(errs, n.folder.close())
	}
	if n.Err() == nil {
		n.closeErr = errors.Join(errs...)
	}
	close(n.stopped)
	n.doneOnce.Do(func() { close(n.done) })
}

// goFuture runs wait in a goroutine and counts it. wait blocks on a future of raft, which raft may never answer, so a stop
// does not join these goroutines; it only gives them drainLimit.
func (n *Node) goFuture(wait func()) {
	n.pendingFutures.Add(1)
	go func() {
		defer n.pendingFutures.Add(-1)
		wait()
	}()
}

// drainFutures waits until raft has answered all futures, for at most drainLimit.
func (n *Node) drainFutures() {
	for until := time.Now().Add(drainLimit); n.pendingFutures.Load() > 0 && time.Now().Before(until); {
		time.Sleep(drainPeriod)
	}
}

// untilClosing returns a context that ends as soon as this node begins to stop; n.ctx ends only when raft is about to.
func (n *Node) untilClosing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(n.ctx)
	n.goroutines.Go(func() {
		select {
		case <-n.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// errStopping leaves an entry's outcome unknown. ErrClosed would be wrong in its place: it is a refusal.
var errStopping = errors.New("this node is stopping")

// waitForFuture waits for raft's answer, for ctx, or for this node's stop, since raft leaves some futures unanswered when it
// shuts down.
func (n *Node) waitForFuture(ctx context.Context, f raft.Future) error {
	answer := make(chan error, 1)
	n.goFuture(func() { answer <- f.Error() })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return errStopping
	}
}
