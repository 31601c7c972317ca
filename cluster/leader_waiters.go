package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leaderPollPeriod is how often a node that knows no leader polls raft for one while calls wait.
const leaderPollPeriod = 10 * time.Millisecond

// leaderWaiters is shared by the calls that arrive while this node knows of no leader. If they were refused at once,
// thousands of game servers would dial one node after another during an election. Instead they wait here, and one of the
// waiting calls polls for all of them.
type leaderWaiters struct {
	mu    sync.Mutex
	found chan struct{} // closed when the polling call has found a leader or has given up; nil while no call polls
}

// knowsLeader reports whether a call can be served or sent on: this node leads, is opening its term, is in no cluster, or
// has had contact with its leader within half a heartbeat.
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

// waitToKnowLeader waits until knowsLeader. It returns false when limit fires, ctx ends or the node is closing.
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
		close(seen) // if no leader was found, another waiting call begins to poll
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

// receiveWithin waits for a value. It returns false when limit fires, ctx ends or the node is closing before it comes.
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

// readyPeriod is how often watchReady compares the tables' term with raft's.
const readyPeriod = 10 * time.Millisecond

// watchReady closes ready once a leader is known and this node has applied that leader's opening command.
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
