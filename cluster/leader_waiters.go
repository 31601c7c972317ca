package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leaderPollPeriod is how often a node that knows no leader looks for one while calls wait.
const leaderPollPeriod = 10 * time.Millisecond

// leaderWaiters is shared by the calls that came to this node while it knew of no leader. Told so at once, thousands of game
// servers that lost theirs would go round in circles, each dialling again and again, just while a new one is elected. One of
// the waiting calls looks for all of them.
type leaderWaiters struct {
	mu    sync.Mutex
	found chan struct{} // closed when the looking call has seen a leader, or leaves; nil: none looks
}

// knowsLeader says that this node leads, is about to, is in no cluster, or has heard of its leader so recently that it may
// send others there.
func (n *Node) knowsLeader() bool {
	r := n.raftIfRunning()
	if r == nil {
		return true
	}
	s := &n.leadership
	s.mu.Lock()
	leads := s.current != nil || s.opening
	s.mu.Unlock()
	if leads {
		return true
	}
	_, leader := r.LeaderWithID()
	return leader != "" && r.State() != raft.Leader && time.Since(r.LastContact()) < n.config.Heartbeat/2
}

// waitToKnowLeader waits until this node is oriented; false: limit passed, ctx ended, or this node ends.
func (n *Node) waitToKnowLeader(ctx context.Context, limit <-chan time.Time) bool {
	for !n.knowsLeader() {
		look := &n.leaderWaiters
		look.mu.Lock()
		seen, mine := look.found, look.found == nil
		if mine {
			seen = make(chan struct{})
			look.found = seen
		}
		look.mu.Unlock()
		if !mine {
			if !receiveWithin(n, ctx, limit, seen) {
				return false
			}
			continue
		}
		found := n.waitForLeader(ctx, limit)
		look.mu.Lock()
		look.found = nil
		close(seen) // if it was not found, the next one looks on
		look.mu.Unlock()
		return found
	}
	return true
}

func (n *Node) waitForLeader(ctx context.Context, limit <-chan time.Time) bool {
	tick := time.NewTicker(leaderPollPeriod)
	defer tick.Stop()
	for !n.knowsLeader() {
		if !receiveWithin(n, ctx, limit, tick.C) {
			return false
		}
	}
	return true
}

// receiveWithin waits for a value; false: limit passed, ctx ended, or the node ends before.
func receiveWithin[T any](n *Node, ctx context.Context, limit <-chan time.Time, comes <-chan T) bool {
	select {
	case <-comes:
		return true
	case <-limit:
	case <-ctx.Done():
	case <-n.closing:
	}
	return false
}

// readyPeriod is how often watchReady looks.
const readyPeriod = 10 * time.Millisecond

// watchReady closes ready when it is time.
func (n *Node) watchReady() {
	tick := time.NewTicker(readyPeriod)
	defer tick.Stop()
	for {
		if r := n.raftIfRunning(); r != nil {
			leader, _ := r.LeaderWithID()
			position := n.tables.positionNow()
			if leader != "" && position.Term != 0 && position.Term == r.CurrentTerm() {
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
