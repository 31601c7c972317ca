package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Did not happen, and never will by this call:
var (
	// ErrBusy: too much waits already, or the call gave up while it still waited. Try again later.
	ErrBusy = errors.New("too many commands wait to be proposed")
	// ErrNoSpace: the disks of too many nodes are nearly full, so nothing is saved but with the end of its session. Free
	// some space there; try again later.
	ErrNoSpace = errors.New("the nodes whose disks have space left are no majority")
	// ErrUnconfirmed: the lead could not be proven just now. Try again, or ask another node.
	ErrUnconfirmed = errors.New("this node could not prove that it leads")
	// ErrClosed: go to another node.
	ErrClosed = errors.New("this node is shutting down")
)

// May have happened:
var (
	// ErrUnknown: the command may have been applied, or may be later. Ask again under the same request number.
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrFailed: this node is broken, its disk for instance, and stops. Go to another node; page an operator.
	ErrFailed = errors.New("this node failed")
)

// NotLeaderError refuses: nothing happened here. Go to Leader with the same request number.
type NotLeaderError struct {
	Leader string // client address; "" while this node knows of none
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this node does not lead, and knows of no leader"
	}
	return "this node does not lead; the leader is at " + e.Leader
}

// classifyProposeError classifies raft's error of a proposal. Refused is only a proposal that certainly never reached a log.
// Everything else, the log store's own errors and a shutdown included, may yet be committed by the next leader.
func (n *Node) classifyProposeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return n.notLeaderError()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("propose: %w", ErrBusy)
	}
	// The cause goes in as text only: errors.Is must not find a refusal in it.
	return fmt.Errorf("propose: %w: %v", ErrUnknown, err)
}

// isRefusal says that an error of proposed means that nothing happened.
func isRefusal(err error) bool {
	var elsewhere *NotLeaderError
	return errors.As(err, &elsewhere) || errors.Is(err, ErrBusy)
}

func (n *Node) notLeaderError() error {
	client, self := n.Leader()
	if self {
		client = ""
	}
	return &NotLeaderError{Leader: client}
}
