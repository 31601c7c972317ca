package servertest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

var _ server.Node = (*Node)(nil)

// Node is a node of a Log's cluster, as package server sees one. The first node of a log leads.
type Node struct {
	*Log
	Hub  *server.Hub
	addr string // for clients
	done chan struct{}

	// Hooks, called without a lock; nil: nothing. They are set before the calls that meet them.
	Before  func(*fsm.Command) error // instead of applying
	After   func(*fsm.Command) error // instead of the answer
	Confirm func(context.Context) error
	Full    func() bool // only what ends a session has space

	streams  sync.Mutex
	renewed  int
	attended []*cluster.Stream
	ends     map[*cluster.Stream]bool // by the peer
}

// NewNode adds a node to a log. It is listed in the tables if the cluster has been founded.
func NewNode(t testing.TB, l *Log, hub *server.Hub, addr string) *Node {
	t.Helper()
	n := &Node{Log: l, Hub: hub, addr: addr, done: make(chan struct{}), ends: make(map[*cluster.Stream]bool)}
	l.mu.Lock()
	l.hubs = append(l.hubs, hub)
	if l.leader == "" {
		l.leader = addr
	}
	l.mu.Unlock()
	if l.cluster != nil {
		l.Do(&fsm.SetNode{Id: n.ID(), Address: "of " + addr, Client: addr, ServerGossip: "gossip of " + addr})
	}
	return n
}

// CheckSpaceAdmits refuses all but last saves while Full says so.
func (n *Node) CheckSpaceAdmits(c *fsm.Command) error {
	if n.Full != nil && n.Full() && !c.GetSave().GetEnd() {
		return cluster.ErrNoSpace
	}
	return nil
}

// Propose applies a command if this node leads. A call that has ended meanwhile does not stop it, as in a log.
func (n *Node) Propose(_ context.Context, c *fsm.Command) (fsm.Result, error) {
	if err := n.checkLeads(); err != nil {
		return fsm.Result{}, err
	}
	if n.Before != nil {
		if err := n.Before(c); err != nil {
			return fsm.Result{}, err
		}
	}
	result, err := n.Apply(c)
	if err == nil && n.After != nil {
		err = n.After(c)
	}
	return result, err
}

func (n *Node) checkLeads() error {
	if leader, self := n.Leader(); !self {
		return &cluster.NotLeaderError{Leader: leader}
	}
	return nil
}

// ConfirmLeadership confirms it, unless the test has given the lead to another node or Confirm says otherwise.
func (n *Node) ConfirmLeadership(ctx context.Context) (uint64, error) {
	if err := n.checkLeads(); err != nil {
		return 0, err
	}
	if n.Confirm != nil {
		if err := n.Confirm(ctx); err != nil {
			return 0, err
		}
	}
	return 1, nil
}

// Renew counts the renewals that it was to confirm.
func (n *Node) Renew(ctx context.Context, _ lock.Incarnation) (uint64, error) {
	n.streams.Lock()
	n.renewed++
	n.streams.Unlock()
	return n.ConfirmLeadership(ctx)
}

// Renewals counts the renewals that were to be confirmed.
func (n *Node) Renewals() int {
	n.streams.Lock()
	defer n.streams.Unlock()
	return n.renewed
}

// AddStream keeps the streams that were added.
func (n *Node) AddStream(s *cluster.Stream) {
	n.streams.Lock()
	defer n.streams.Unlock()
	if !slices.Contains(n.attended, s) {
		n.attended = append(n.attended, s)
	}
}

// NoteStreamEnd keeps how a stream ended.
func (n *Node) NoteStreamEnd(s *cluster.Stream, byPeer bool) {
	n.streams.Lock()
	defer n.streams.Unlock()
	n.ends[s] = byPeer
}

// Streams returns the streams that were added, and of those that ended whether their peers ended them.
func (n *Node) Streams() (added []*cluster.Stream, byPeer map[*cluster.Stream]bool) {
	n.streams.Lock()
	defer n.streams.Unlock()
	byPeer = make(map[*cluster.Stream]bool)
	for s, by := range n.ends {
		byPeer[s] = by
	}
	return slices.Clone(n.attended), byPeer
}

// ForgetStreams drops the streams that were added.
func (n *Node) ForgetStreams() {
	n.streams.Lock()
	defer n.streams.Unlock()
	n.attended = nil
}

func (n *Node) NoteRequest(lock.Incarnation) {}

// RaiseRolledBack puts the alarm into the log.
func (n *Node) RaiseRolledBack(ctx context.Context, _ uint64) error {
	_, err := n.Propose(ctx, fsm.NewCommand(nil, &fsm.RaiseAlarm{Code: string(cluster.AlarmRolledBack), Text: "old disks"}))
	return err
}

// Remove takes no node out: there is one.
func (n *Node) Remove(context.Context, string) error { return cluster.ErrNotRemovable }

// Transfer hands nothing over.
func (n *Node) Transfer(context.Context) error { return nil }

// LastIndex is where the log ends.
func (n *Node) LastIndex() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.end > 0 {
		return n.end
	}
	return n.index
}

// Position is that of the tables, in the epoch that the test set.
func (n *Node) Position() fsm.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	position := n.machine.Position()
	if n.epoch != 0 {
		position.Epoch = n.epoch
	}
	return position
}

// View is the tables as they are now.
func (n *Node) View() (*server.View, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	view, err := n.machine.View()
	if err != nil {
		return nil, err
	}
	return &server.View{View: view, Release: view.Close}, nil
}

// WaitApplied waits for an index that has not been reached until the call ends.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	if n.Index() >= index {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// Leader is the client address of the node that leads.
func (n *Node) Leader() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader, n.leader == n.addr
}

func (n *Node) GossipState(lock.Incarnation) string               { return "" }
func (n *Node) SilenceOf(lock.Incarnation) (time.Duration, bool)  { return time.Second, true }
func (n *Node) PendingSince(fsm.OwnedGrant) (time.Duration, bool) { return 2 * time.Second, true }
func (n *Node) Status() cluster.Status                            { return cluster.Status{ID: n.ID()} }
func (n *Node) ID() string                                        { return "node-" + n.addr }
func (n *Node) Done() <-chan struct{}                             { return n.done }

// Stop makes the node say that it has stopped.
func (n *Node) Stop() { close(n.done) }

// Ready is closed: the node is ready from the start.
func (n *Node) Ready() <-chan struct{} {
	ready := make(chan struct{})
	close(ready)
	return ready
}
