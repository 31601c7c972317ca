package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leaderPollPeriod is how often a node that knows no leader polls raft for one while calls wait.
const leaderPollPeriod = 10 * time.Millisecond

// knowsLeader reports whether a call can be served or sent on: this node leads, is opening its term, is in no cluster, or
// has had contact with its leader within half a heartbeat.
func (s *leadership) knowsLeader() bool {
	r := s.node.raftIfRunning()
	if r == nil {
		return true
	}
	s.mu.Lock()
	leads := s.current != nil || s.opening
	s.mu.Unlock()
	if leads {
		return true
	}
	_, leader := r.LeaderWithID()
	return leader != "" && r.State() != raft.Leader && time.Since(r.LastContact()) < s.node.config.Heartbeat/2
}

// waitToKnowLeader waits until knowsLeader. It returns false when limit fires, ctx ends or the node is closing.
func (s *leadership) waitToKnowLeader(ctx context.Context, limit <-chan time.Time) bool {
	for !s.knowsLeader() {
		look := &s.waiters
		look.mu.Lock()
		seen, mine := look.found, look.found == nil
		if mine {
			seen = make(chan struct{})
			look.found = seen
		}
		look.mu.Unlock()
		if !mine {
			if !receiveWithin(s.node.lifecycle.closing, ctx, limit, seen) {
				return false
			}
			continue
		}
		found := s.waitForLeader(ctx, limit)
		look.mu.Lock()
		look.found = nil
		close(seen) // if no leader was found, another waiting call begins to poll
		look.mu.Unlock()
		return found
	}
	return true
}

func (s *leadership) waitForLeader(ctx context.Context, limit <-chan time.Time) bool {
	tick := time.NewTicker(leaderPollPeriod)
	defer tick.Stop()
	for !s.knowsLeader() {
		if !receiveWithin(s.node.lifecycle.closing, ctx, limit, tick.C) {
			return false
		}
	}
	return true
}

// receiveWithin waits for a value. It returns false when limit fires, ctx ends or the node is closing before it comes.
func receiveWithin[T any](closing, ctx context.Context, limit <-chan time.Time, comes <-chan T) bool {
	select {
	case <-comes:
		return true
	case <-limit:
	case <-ctx.Done():
	case <-closing.Done():
	}
	return false
}

// leaderWaiters is shared by the calls that arrive while this node knows of no leader. If they were refused at once,
// thousands of game servers would dial one node after another during an election. Instead they wait here, and one of the
// waiting calls polls for all of them.
type leaderWaiters struct {
	mu    sync.Mutex
	found chan struct{} // closed when the polling call has found a leader or has given up; nil while no call polls
}
