package cluster

import (
	"errors"
)

// Refusals: the command was not applied, and this call will not cause it to be.
var (
	// ErrBusy: too many commands wait already, or the call ended while its command still waited. Try again later.
	ErrBusy = errors.New("too many commands wait to be proposed")
	// ErrNoSpace: the disks of too many nodes are nearly full, so only saves that end their session are accepted. Free
	// some space there; try again later.
	ErrNoSpace = errors.New("the nodes whose disks have space left are no majority")
	// ErrUnconfirmed: a confirmation round did not succeed just now. Try again, or ask another node.
	ErrUnconfirmed = errors.New("this node could not confirm that it leads")
	// ErrClosed: this node is stopping. Ask another node.
	ErrClosed = errors.New("this node is shutting down")
)

// Not refusals: the command may have been applied.
var (
	// ErrUnknown: the command may have been applied, or may be later. Ask again under the same request number.
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrFailed: this node is broken, for instance its disk, and stops. Ask another node; this is something to page an
	// operator for.
	ErrFailed = errors.New("this node failed")
)

// NotLeaderError is a refusal: this node does not lead. Ask Leader under the same request number.
type NotLeaderError struct {
	Leader string // client address; "" if this node knows of no leader
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this node does not lead, and knows of no leader"
	}
	return "this node does not lead; the leader is at " + e.Leader
}

// isRefusal reports whether an error of classifyProposeError means that the command was not applied.
func isRefusal(err error) bool {
	var elsewhere *NotLeaderError
	return errors.As(err, &elsewhere) || errors.Is(err, ErrBusy)
}
