package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/liveness"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/lock"
)

// answers returns this node's answers to the questions of other nodes.
func (m *membership) answers() peerwire.Answers {
	return peerwire.Answers{Nonce: m.answerNonce, Hello: m.answerHello, Join: m.answerJoin, Reach: m.answerReach}
}

// answerNonce answers with the state of the running raft instance or not at all: the state on disk may be older than a
// vote.
func (m *membership) answerNonce() (peerwire.NonceAnswer, error) {
	r := m.node.raftIfRunning()
	if r == nil || r.State() == raft.Shutdown {
		return peerwire.NonceAnswer{}, peerwire.ErrNoAnswer
	}
	return peerwire.NonceAnswer{Term: r.CurrentTerm(), WallMS: m.node.config.Now().UnixMilli()}, nil
}

func (m *membership) answerHello(q peerwire.HelloQuestion) peerwire.Hello {
	n := m.node
	// Raft is read before the identity: a node whose raft runs knows its cluster, and must not answer without its name.
	r := n.raftIfRunning()
	own := n.currentIdentity()
	gossipAddress, serverGossipAddress := n.gossip.addresses()
	h := peerwire.Hello{
		ID: own.ID, ProcessID: n.processID, Address: n.port.Advertised(), Client: n.config.Client, Gossip: gossipAddress, ServerGossip: serverGossipAddress,
		Level: n.config.Level, Version: n.config.Version, Nodes: n.config.Nodes,
		FreeBytes: n.space.freeBytes.Load(), BelowReserve: n.space.belowReserve.Load(),
		DiskHangs: n.hungDisk.describeHang(hangNoticed) != nil,
		Detector:  n.config.Detector,
	}
	if r == nil {
		return h
	}
	h.Cluster, h.Member = own.Cluster, true
	h.Members = configuredPeers(r)
	leader, _ := r.LeaderWithID()
	h.Leader = peerwire.HostPort(leader)
	h.Term, h.LastIndex, h.Applied = r.CurrentTerm(), r.LastIndex(), n.tables.Position().Index
	if digest, ok := n.replica.Digests.At(q.DigestAt); ok {
		h.DigestAt, h.Digest = q.DigestAt, digest
	}
	scrubbed := n.scrub.Last()
	h.ScrubbedAt, h.ScrubSum = scrubbed.Index, scrubbed.Sum
	return h
}

// answerReach calls the ping ports of game servers that the leader does not hear.
func (m *membership) answerReach(q peerwire.ReachQuestion) peerwire.ReachAnswer {
	n := m.node
	var ports []liveness.PingPort
	for _, p := range q.Ports {
		ports = append(ports, liveness.PingPort{Incarnation: lock.Incarnation(p.Incarnation), Address: p.Address})
	}
	return peerwire.ReachAnswer{Reached: liveness.CountReached(n.lifecycle.running, n.config.Dial, ports)}
}

func (m *membership) answerJoin(q peerwire.JoinQuestion) peerwire.JoinAnswer {
	n := m.node
	r := n.raftIfRunning()
	if r == nil {
		return peerwire.JoinAnswer{Refused: "this node is in no cluster yet"}
	}
	l := n.leadership.now()
	if l == nil {
		leader, _ := r.LeaderWithID()
		return peerwire.JoinAnswer{Leader: peerwire.HostPort(leader), Refused: "this node does not lead"}
	}
	ctx, cancel := context.WithTimeout(l.ctx, joinTimeout)
	defer cancel()
	if err := m.admitNode(ctx, q); err != nil {
		if m.joinRefusals.ShouldLog(q.Address, time.Now()) {
			n.log.Warn("refused a node that asked to join; it asks again", "node", q.ID, "address", q.Address, "error", err)
		}
		return peerwire.JoinAnswer{Refused: err.Error()}
	}
	return peerwire.JoinAnswer{Cluster: n.currentIdentity().Cluster}
}

// admitNode takes a node in as a learner, if the cluster expects one there: it gets the log, and votes once it has caught
// up. A node that is in already keeps its vote and moves to the address that it states.
func (m *membership) admitNode(ctx context.Context, q peerwire.JoinQuestion) error {
	n := m.node
	if q.ID == "" || q.Address == "" {
		return errors.New("join: an id and an address are needed")
	}
	if ours := n.currentIdentity().Cluster; q.Cluster != "" && q.Cluster != ours {
		return fmt.Errorf("join: that node is of cluster %s, this is cluster %s: start it with the nodes of its own, or on an empty data folder", q.Cluster, ours)
	}
	if position := n.tables.Position(); q.Level < position.Level {
		return fmt.Errorf("join: this cluster is at level %d, that node knows %d: install a newer build there", position.Level, q.Level)
	}
	r := n.raftIfRunning()
	address := peerwire.RaftAddress(q.ID, q.Address)
	var f raft.Future
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if string(s.ID) != q.ID {
			continue
		}
		if s.Address == address {
			return nil
		}
		if err := m.checkNotRunningElsewhere(ctx, peerwire.HostPort(s.Address), q.ID, q.ProcessID); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if s.Suffrage == raft.Voter {
			f = r.AddVoter(s.ID, address, 0, joinTimeout)
		}
	}
	if f == nil {
		if err := m.checkExpected(q.Address); err != nil {
			return err
		}
		f = r.AddNonvoter(raft.ServerID(q.ID), address, 0, joinTimeout)
	}
	if err := n.lifecycle.waitForFuture(ctx, f); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	n.log.Info("took a node in as a learner", "node", q.ID, "address", q.Address)
	return nil
}

// unexpectedError is the refusal of a node that the cluster does not expect at its address.
type unexpectedError struct{ address string }

func (e *unexpectedError) Error() string {
	return fmt.Sprintf("join: the cluster does not expect a node at %s: run profilenode members add %s, or correct what that node advertises", e.address, e.address)
}

// checkExpected returns an error unless the cluster expects a node at an address: this leader's configuration lists it, or
// an operator has said so. Otherwise any process that reaches the nodes' port would soon vote.
func (m *membership) checkExpected(address string) error {
	if slices.Contains(m.node.config.Nodes, address) {
		return nil
	}
	view, err := m.node.tables.OpenView()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	defer view.Close()
	added, err := view.ExpectedNodes()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if !slices.Contains(added, address) {
		return &unexpectedError{address}
	}
	return nil
}

// checkNotRunningElsewhere returns an error if another process than the given one answers at the address as the node with
// that id. One of the two then has a copy of the other's data folder, and together they would give two votes in one term.
func (m *membership) checkNotRunningElsewhere(ctx context.Context, address, id, processID string) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	c := m.node.port.ConnTo(address, "")
	defer c.Close()
	if h, err := c.AskHello(ctx, peerwire.HelloQuestion{}); err != nil || h.ID != id || h.ProcessID == processID {
		return nil
	}
	return fmt.Errorf("node %s runs at %s already, so this data folder is a copy of its: stop that process if the node shall move here, else remove this folder, and a new node joins", id, address)
}
