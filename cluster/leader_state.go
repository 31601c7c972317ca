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
	spaceTight atomic.Bool // fewer than a majority of the voters have their reserve of disk space
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
	rows, err := s.node.tables.readNodes()
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
func (s *leadership) readAppliedResult(f raft.ApplyFuture) (appliedResults, error) {
	a, ok := f.Response().(appliedResults)
	if !ok || a.skipped {
		err := fmt.Errorf("%w: this node proposed entry %d, but its tables had passed that index before: log and tables do not belong together", ErrFailed, f.Index())
		s.node.fail(err)
		return appliedResults{}, fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	return a, nil
}
