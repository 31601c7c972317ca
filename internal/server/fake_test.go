package server_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

var _ server.Node = (*fakeNode)(nil)

var fakeCluster = bytes.Repeat([]byte{7}, 16)

// fakeNode is the real tables behind a log of one: what it is asked is applied at once, or fails as a test wants.
type fakeNode struct {
	hub     *server.Hub
	cluster []byte // its id
	done    chan struct{}

	mu       sync.Mutex
	machine  *fsm.Machine
	index    uint64
	acts     []string // kinds of what was applied
	logEnd   uint64   // where the log ends, if that is not where the tables are
	deaf     bool     // events are lost
	full     bool     // no space but for what ends a session
	follower bool
	renewed  int
	epoch    uint64 // 0: that of the tables
	leader   string // another node's client address
	attended []*cluster.Stream
	ends     map[*cluster.Stream]bool // by the peer

	// Hooks, called without the lock; nil: nothing.
	before func(*fsm.Command) error // instead of applying
	after  func(*fsm.Command) error // instead of the answer
	prove  func(context.Context) error
}

func newFake(t testing.TB, hub *server.Hub) *fakeNode { return newFakeOf(t, hub, fakeCluster) }

// newFakeOf is a node of a cluster, or of none yet. Its build is one of a level to come.
func newFakeOf(t testing.TB, hub *server.Hub, cluster []byte) *fakeNode {
	t.Helper()
	machine, err := fsm.Open(fsm.Options{FS: vfs.NewMem(), Dir: "tables", Logger: quiet{}, Level: fsm.Level + 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := machine.Close(); err != nil {
			t.Errorf("close the tables: %v", err)
		}
	})
	n := &fakeNode{hub: hub, machine: machine, cluster: cluster, done: make(chan struct{})}
	if cluster == nil {
		return n
	}
	for _, act := range []any{
		&fsm.Found{Cluster: cluster, Level: fsm.Level, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses()},
		&fsm.SetNode{Id: "fake", Address: "127.0.0.1:7401", Client: "127.0.0.1:7400", ServerGossip: "127.0.0.1:7404"},
	} {
		if _, err := n.apply(fsm.NewCommand(nil, act)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func (n *fakeNode) CheckSpaceAdmits(c *fsm.Command) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full && !c.GetSave().GetEnd() {
		return cluster.ErrNoSpace
	}
	return nil
}

func (n *fakeNode) apply(c *fsm.Command) (fsm.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index++
	data, err := fsm.Encode(fsm.Level, n.cluster, int64(n.index)*1000, []*fsm.Command{c})
	if err != nil {
		return fsm.Result{}, err
	}
	out, err := n.machine.Apply([]fsm.Log{{Index: n.index, Term: 1, Data: data}})
	if err != nil {
		return fsm.Result{}, err
	}
	if c.GetPutPart() != nil {
		n.acts = append(n.acts, "part")
	} else {
		n.acts = append(n.acts, "other")
	}
	if !n.deaf {
		n.hub.Tell(out[0].Events)
	}
	return out[0].Results[0], nil
}

func (n *fakeNode) Propose(ctx context.Context, c *fsm.Command) (fsm.Result, error) {
	if err := n.elsewhere(); err != nil {
		return fsm.Result{}, err
	}
	if n.before != nil {
		if err := n.before(c); err != nil {
			return fsm.Result{}, err
		}
	}
	result, err := n.apply(c)
	if err == nil && n.after != nil {
		err = n.after(c)
	}
	return result, err
}

func (n *fakeNode) LastIndex() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.logEnd > 0 {
		return n.logEnd
	}
	return n.index
}

func (n *fakeNode) RaiseRolledBack(ctx context.Context, _ uint64) error {
	_, err := n.Propose(ctx, fsm.NewCommand(nil, &fsm.RaiseAlarm{Code: string(cluster.AlarmRolledBack), Text: "old disks"}))
	return err
}

func (n *fakeNode) GossipState(lock.Incarnation) string { return "" }

func (n *fakeNode) elsewhere() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.follower {
		return &cluster.NotLeaderError{Leader: n.leader}
	}
	return nil
}

func (n *fakeNode) ConfirmLeadership(ctx context.Context) (uint64, error) {
	if err := n.elsewhere(); err != nil {
		return 0, err
	}
	if n.prove != nil {
		if err := n.prove(ctx); err != nil {
			return 0, err
		}
	}
	return 1, nil
}

func (n *fakeNode) Renew(ctx context.Context, _ lock.Incarnation) (uint64, error) {
	n.mu.Lock()
	n.renewed++
	n.mu.Unlock()
	return n.ConfirmLeadership(ctx)
}

// renewals counts the renewals that were to be confirmed.
func (n *fakeNode) renewals() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.renewed
}

func (n *fakeNode) AddStream(s *cluster.Stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.attended, s) {
		n.attended = append(n.attended, s)
	}
}

func (n *fakeNode) NoteStreamEnd(s *cluster.Stream, byPeer bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ends == nil {
		n.ends = map[*cluster.Stream]bool{}
	}
	n.ends[s] = byPeer
}

func (n *fakeNode) NoteRequest(lock.Incarnation) {}

func (n *fakeNode) Position() fsm.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	standing := n.machine.Position()
	if n.epoch != 0 {
		standing.Epoch = n.epoch
	}
	return standing
}

func (n *fakeNode) View() (*server.View, error) {
	view, err := n.machine.View()
	if err != nil {
		return nil, err
	}
	return &server.View{View: view, Release: view.Close}, nil
}

func (n *fakeNode) WaitApplied(ctx context.Context, index uint64) error {
	n.mu.Lock()
	reached := n.index >= index
	n.mu.Unlock()
	if reached {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n *fakeNode) Leader() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader, !n.follower
}

func (n *fakeNode) SilenceOf(lock.Incarnation) (time.Duration, bool)  { return time.Second, true }
func (n *fakeNode) PendingSince(fsm.OwnedGrant) (time.Duration, bool) { return 2 * time.Second, true }
func (n *fakeNode) Status() cluster.Status                            { return cluster.Status{ID: "fake"} }
func (n *fakeNode) ID() string                                        { return "fake" }
func (n *fakeNode) Done() <-chan struct{}                             { return n.done }

func (n *fakeNode) Ready() <-chan struct{} {
	ready := make(chan struct{})
	close(ready)
	return ready
}

// follow makes the node a follower of another.
func (n *fakeNode) follow(leader string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.follower, n.leader = true, leader
}

// deafen makes events get lost from here, or not.
func (n *fakeNode) deafen(deaf bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf = deaf
}

// parts counts the parts that were put so far.
func (n *fakeNode) parts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, act := range n.acts {
		if act == "part" {
			count++
		}
	}
	return count
}

// answering is a node whose log answers every command in one way.
type answering struct {
	*fakeNode
	answer fsm.Result
}

func (n answering) Propose(context.Context, *fsm.Command) (fsm.Result, error) { return n.answer, nil }

func lockID(id uint64) lock.Incarnation { return lock.Incarnation(id) }

// blindNode cannot read its tables until it sees.
type blindNode struct {
	*fakeNode
	sees atomic.Bool
}

func (n *blindNode) View() (*server.View, error) {
	if !n.sees.Load() {
		return nil, cluster.ErrClosed
	}
	return n.fakeNode.View()
}

// quiet is a log of Pebble's that nobody reads.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
