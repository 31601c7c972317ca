package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/liveness"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/quorum"
	"github.com/profilenode/profilenode/cluster/internal/tables"
)

// leadershipWait is how long a call waits for a leadership whose opening command is not applied yet.
const leadershipWait = time.Second

// leaderState is this node's leadership in one term: from the moment its opening command was applied until raft reports
// its loss. All goroutines that act as the leader belong to one leaderState and end with its context, so none of them
// acts in a later term.
type leaderState struct {
	node     *Node
	term     uint64 // the term of the opening command's entry
	openedAt time.Time
	ctx      context.Context

	queue      *proposeQueue
	confirmer  *leadershipConfirmer
	clock      *clock
	detector   *liveness.Detector
	calendar   calendar
	behind     atomic.Pointer[[]behindMember]
	silence    atomic.Pointer[quorum.Silence] // of the other voters towards raft
	spaceTight atomic.Bool                    // fewer than a majority of the voters have their reserve of disk space
}

// leadership records whether this node leads. Raft's State and CurrentTerm cannot answer that: read one after the other,
// they may belong to different terms.
type leadership struct {
	node    *Node
	waiters leaderWaiters
	onOpen  func(*leaderState) // runs beside the leader's other goroutines, until the leadership ends

	mu         sync.Mutex
	current    *leaderState  // nil: this node does not lead, or its opening command is not applied yet
	opening    bool          // raft leads, and the opening command is on its way
	changed    chan struct{} // closed and replaced at each change
	cancel     context.CancelFunc
	closed     bool // the node stops: no leadership begins any more
	goroutines sync.WaitGroup

	raftDown chan struct{} // closed when raft is shut down and changes leadership no more
}

func newLeadership(n *Node) *leadership {
	return &leadership{node: n, changed: make(chan struct{}), raftDown: make(chan struct{})}
}

// now returns the current leadership, or nil while this node does not lead.
func (s *leadership) now() *leaderState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// leaderAddress returns the leader's address for clients, "" if it is not known, and whether this node is the leader.
func (s *leadership) leaderAddress() (client string, self bool) {
	if s.now() != nil {
		return s.node.config.Client, true
	}
	r := s.node.raftIfRunning()
	if r == nil {
		return "", false
	}
	_, leader := r.LeaderWithID()
	if leader == "" {
		return "", false
	}
	rows, err := s.node.tables.ReadNodes()
	if err != nil {
		return "", false
	}
	for _, row := range rows {
		if row.ID == string(leader) {
			return row.Client, false
		}
	}
	return "", false
}

func (s *leadership) notLeaderError() error {
	client, self := s.leaderAddress()
	if self {
		client = ""
	}
	return &NotLeaderError{Leader: client}
}

// classifyProposeError turns raft's error of a proposal into one of this package's. Only a proposal that certainly never
// reached a log is refused. After any other error, those of the log store and of a shutdown included, the next leader may
// still commit the entry.
func (s *leadership) classifyProposeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return s.notLeaderError()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("propose: %w", ErrBusy)
	}
	// The cause goes in as text only: errors.Is must not find a refusal in it.
	return fmt.Errorf("propose: %w: %v", ErrUnknown, err)
}

// readAppliedResult returns the result of an entry that this node proposed and applied. If the tables skipped the entry,
// they had passed its index before it was written, so the log and the tables do not belong together and the node stops.
func (s *leadership) readAppliedResult(f raft.ApplyFuture) (tables.AppliedResults, error) {
	a, ok := f.Response().(tables.AppliedResults)
	if !ok || a.Skipped {
		err := fmt.Errorf("%w: this node proposed entry %d, but its tables had passed that index before: log and tables do not belong together", ErrFailed, f.Index())
		s.node.fail(err)
		return tables.AppliedResults{}, fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	return a, nil
}

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

// readyPeriod is how often watchReady compares the tables' term with raft's.
const readyPeriod = 10 * time.Millisecond

// watchReady closes ready once a leader is known and this node has applied that leader's opening command.
func (s *leadership) watchReady() {
	n := s.node
	tick := time.NewTicker(readyPeriod)
	defer tick.Stop()
	for {
		if r := n.raftIfRunning(); r != nil {
			leader, _ := r.LeaderWithID()
			position := n.tables.Position()
			if leader != "" && position.Term != 0 && position.Term == r.CurrentTerm() {
				close(n.ready)
				return
			}
		}
		select {
		case <-n.lifecycle.closing.Done():
			return
		case <-tick.C:
		}
	}
}

// configuredPeers returns the nodes of the latest configuration, committed or not: raft itself counts by it.
func configuredPeers(r *raft.Raft) []peerwire.Peer {
	var peers []peerwire.Peer
	for _, s := range r.GetConfiguration().Configuration().Servers {
		peers = append(peers, peerwire.Peer{ID: string(s.ID), Address: peerwire.HostPort(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return peers
}
