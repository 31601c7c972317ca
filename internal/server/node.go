package server

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Node is the part of a node that the service needs. That of package cluster is one; tests bring others.
type Node interface {
	// Propose puts a command through the log. Without an error it was applied, and Result.Code is its result.
	Propose(ctx context.Context, command *fsm.Command) (fsm.Result, error)
	// CheckSpaceAdmits refuses a command, for its kind alone, that Propose would refuse just now.
	CheckSpaceAdmits(command *fsm.Command) error
	// ConfirmLeadership confirms the lead after the call began.
	ConfirmLeadership(ctx context.Context) (term uint64, err error)
	// Renew confirms the lead and notes that the incarnation was heard.
	Renew(ctx context.Context, server lock.Incarnation) (term uint64, err error)
	// AddStream notes that a stream of a living incarnation is open; Ended that it is over, byPeer only by FIN or RST from the
	// peer; Noticed that a request of an incarnation came. The judge counts with them.
	AddStream(stream *cluster.Stream)
	NoteStreamEnd(stream *cluster.Stream, byPeer bool)
	NoteRequest(server lock.Incarnation)
	// Position is where the tables stand now: cluster, epoch, level. It costs nothing.
	Position() fsm.Position
	// View is the tables as they are now. It must be closed.
	View() (*View, error)
	// WaitApplied returns once the tables have reached the index.
	WaitApplied(ctx context.Context, index uint64) error
	// Leader is the leader's client address as far as known, and whether it is this node.
	Leader() (client string, self bool)
	// SilenceOf is how long the judge has not heard an incarnation; false: this node does not know.
	SilenceOf(server lock.Incarnation) (silent time.Duration, ok bool)
	// GossipState is how an incarnation seems to gossip: alive, dead, left, or empty. Advice only.
	GossipState(server lock.Incarnation) string
	// PendingSince is how long the judge has been waiting for an owner to let go, or to say that it is over; false: it does
	// not know of it.
	PendingSince(grant fsm.OwnedGrant) (pending time.Duration, ok bool)
	// LastIndex is how far this node's log reaches, or its newest snapshot.
	LastIndex() uint64
	// RaiseRolledBack keeps an alarm that the log ends before an index that a caller was told.
	RaiseRolledBack(ctx context.Context, seen uint64) error
	// Remove takes a node out of the cluster, and Transfer hands the leadership over.
	Remove(ctx context.Context, id string) error
	Transfer(ctx context.Context) error
	Status() cluster.Status
	ID() string
	// Ready is closed once the node knows a leader and its tables are its.
	Ready() <-chan struct{}
	// Done is closed once the node has stopped.
	Done() <-chan struct{}
}

// View is the tables at one index.
type View struct {
	*fsm.View
	Release func() error // called by Close
}

// Close lets go of the view.
func (v *View) Close() error { return v.Release() }

// clusterNode is a node of package cluster as a Node.
type clusterNode struct{ *cluster.Node }

var _ Node = clusterNode{}

func (n clusterNode) View() (*View, error) {
	view, err := n.Node.View()
	if err != nil {
		return nil, err
	}
	return &View{View: view.View, Release: view.Close}, nil
}
