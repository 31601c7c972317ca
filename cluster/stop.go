package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	drainLimit = 2 * time.Second       // for entries in flight, at the end
	drainLook  = 5 * time.Millisecond  // between two looks
	readyLook  = 10 * time.Millisecond // between two looks
	snapshotAt = time.Second           // between two looks
)

// Close ends this node: it takes no more commands, hands the lead over, and lets go of its folder. It returns an error
// when ctx ends before that; the rest then goes on in the background, without handing anything over.
func (n *Node) Close(ctx context.Context) error {
	n.beginStop()
	select {
	case <-n.down:
		return n.closeErr
	case <-ctx.Done():
	}
	n.hurrying.Do(func() { close(n.hurry) })
	select {
	case <-n.down:
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
	n.hurrying.Do(func() { close(n.hurry) })
	n.finished.Do(func() { close(n.done) })
	n.beginStop()
}

func (n *Node) beginStop() {
	n.stopping.Do(func() {
		close(n.closing)
		go n.shutDown() // joined by Close, through down
	})
}

// shutDown goes the way of open backwards. Each step needs those after it.
func (n *Node) shutDown() {
	<-n.opened
	n.seeking.Wait() // it may be about to start raft
	var errs []error
	if n.raftIfRunning() != nil {
		n.handOverLeadership()
	}
	if n.gossip != nil {
		errs = append(errs, n.closeGossip(n.gossip))
	}
	if n.servers != nil {
		errs = append(errs, n.closeGossip(n.servers))
	}
	if n.transport != nil {
		n.transport.closeConns() // a leader steps down within its lease now, and answers entries in flight
	}
	n.cancel()
	n.leadership.mu.Lock()
	n.leadership.over = true
	n.leadership.mu.Unlock()
	n.leadership.acting.Wait()
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
	n.acting.Wait()
	if n.tables != nil {
		errs = append(errs, n.tables.close())
	}
	if n.storage != nil {
		errs = append(errs, n.storage.close())
	}
	if n.folder != nil {
		errs = append(errs, n.folder.close())
	}
	if n.Err() == nil {
		n.closeErr = errors.Join(errs...)
	}
	close(n.down)
	n.finished.Do(func() { close(n.done) })
}

// handOverLeadership lets proposals finish, then gives the lead to another voter. Both are optional, and bounded.
func (n *Node) handOverLeadership() {
	l := n.leaderStateNow()
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, drainLimit)
	defer cancel()
	for !l.queue.isIdle() {
		select {
		case <-ctx.Done():
			return
		case <-n.hurry:
			return
		case <-time.After(drainLook):
		}
	}
	if len(configuredPeers(n.raftIfRunning())) > 1 {
		hand, cancel := context.WithTimeout(n.ctx, drainLimit) // the lead's own ends on the way
		defer cancel()
		if err := n.transferLeadership(hand); err != nil {
			n.log.Debug("hand the lead over", "error", err)
		}
	}
}

// goFuture runs a function that waits for a future of raft, which may never be answered.
func (n *Node) goFuture(wait func()) {
	n.futures.Add(1)
	go func() {
		defer n.futures.Add(-1)
		wait()
	}()
}

// drainFutures gives raft time for its answers.
func (n *Node) drainFutures() {
	for until := time.Now().Add(drainLimit); n.futures.Load() > 0 && time.Now().Before(until); {
		time.Sleep(drainLook)
	}
}

// untilClosing is a context that ends as soon as this node begins to.
func (n *Node) untilClosing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(n.ctx)
	n.acting.Go(func() {
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

// Transfer hands the lead to another voter and returns once this node does not lead any more.
func (n *Node) Transfer(ctx context.Context) error {
	if _, err := n.awaitLeaderState(ctx); err != nil {
		return err
	}
	return n.transferLeadership(ctx)
}

func (n *Node) transferLeadership(ctx context.Context) error {
	answer := make(chan error, 1)
	n.goFuture(func() { answer <- n.raftIfRunning().LeadershipTransfer().Error() })
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("hand the lead over: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("hand the lead over: %w", ctx.Err())
	case <-n.hurry:
		return ErrClosed
	}
	for {
		n.leadership.mu.Lock()
		over, changed := n.leadership.now == nil, n.leadership.changed
		n.leadership.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("hand the lead over: %w", ctx.Err())
		case <-n.hurry:
			return ErrClosed
		}
	}
}

// Snapshot takes one now, so that the log before it can be cut. That there is nothing new is no error.
func (n *Node) Snapshot() error {
	r := n.raftIfRunning()
	if r == nil {
		return errors.New("take snapshot: this node is in no cluster yet")
	}
	began := time.Now()
	err := n.replica.flushTables()
	if err == nil {
		err = n.waitForFuture(n.ctx, r.Snapshot())
	}
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	n.config.Metrics.Snapshot(false, time.Since(began), err)
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

// keepSnapshots takes one whenever SnapshotBytes were written to the log: counts say nothing of their size.
func (n *Node) keepSnapshots() {
	var taken uint64
	tick := time.NewTicker(snapshotAt)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		if n.raftIfRunning() == nil {
			continue
		}
		written := n.storage.log.written.Load()
		if written-taken < n.config.SnapshotBytes {
			continue
		}
		if err := n.Snapshot(); err != nil {
			if n.ctx.Err() == nil {
				n.log.Warn("snapshot", "error", err)
			}
			continue
		}
		taken = written
	}
}

// watchReady closes ready when it is time.
func (n *Node) watchReady() {
	tick := time.NewTicker(readyLook)
	defer tick.Stop()
	for {
		if r := n.raftIfRunning(); r != nil {
			leader, _ := r.LeaderWithID()
			standing := n.tables.positionNow()
			if leader != "" && standing.Term != 0 && standing.Term == r.CurrentTerm() {
				close(n.ready)
				return
			}
		}
		select {
		case <-n.closing:
			return
		case <-tick.C:
		}
	}
}
