package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	drainLimit  = 2 * time.Second      // for entries in flight, at the end
	drainPeriod = 5 * time.Millisecond // between two looks
)

// Close ends this node: it takes no more commands, hands the lead over, and lets go of its folder. It returns an error
// when ctx ends before that; the rest then goes on in the background, without handing anything over.
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

// fail ends this node from inside. From here no message of it is heard. It waits for nothing: raft or Pebble may call
// it, with their locks held.
func (n *Node) fail(err error) {
	err = n.explainIfFull(err)
	if !n.failure.CompareAndSwap(nil, &err) {
		return
	}
	n.log.Error("this node stops", "error", err)
	if n.transport != nil {
		n.transport.closeConns()
	}
	n.closeNowOnce.Do(func() { close(n.closeNow) })
	n.doneOnce.Do(func() { close(n.done) })
	n.beginStop()
}

func (n *Node) beginStop() {
	n.stopOnce.Do(func() {
		close(n.closing)
		go n.shutDown() // joined by Close, through down
	})
}

// shutDown goes the way of open backwards. Each step needs those after it.
func (n *Node) shutDown() {
	<-n.openDone
	n.joining.Wait() // it may be about to start raft
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
	if n.transport != nil {
		n.transport.closeConns() // a leader steps down within its lease now, and answers entries in flight
	}
	n.cancel()
	n.leadership.mu.Lock()
	n.leadership.closed = true
	n.leadership.mu.Unlock()
	n.leadership.goroutines.Wait()
	n.drainFutures() // raft forgets to answer its futures when it goes down
	if r := n.raftIfRunning(); r != nil {
		if err := r.Shutdown().Error(); err != nil {
			errs = append(errs, fmt.Errorf("stop raft: %w", err))
		}
	}
	close(n.raftDown)
	if n.transport != nil {
		n.transport.close()
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

// goFuture runs a function that waits for a future of raft, which may never be answered.
func (n *Node) goFuture(wait func()) {
	n.pendingFutures.Add(1)
	go func() {
		defer n.pendingFutures.Add(-1)
		wait()
	}()
}

// drainFutures gives raft time for its answers.
func (n *Node) drainFutures() {
	for until := time.Now().Add(drainLimit); n.pendingFutures.Load() > 0 && time.Now().Before(until); {
		time.Sleep(drainPeriod)
	}
}

// untilClosing is a context that ends as soon as this node begins to.
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

// errStopping says nothing of an entry's outcome: ErrClosed would be a refusal.
var errStopping = errors.New("this node is stopping")

// waitForFuture waits for an answer of raft's, or for this node's own stop: raft answers not everything when it shuts down.
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
