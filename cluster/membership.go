package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

const (
	joinTimeout    = 5 * time.Second
	helloTimeout   = time.Second
	askAgainPeriod = 5 * time.Second // how often a node that the cluster does not know asks to be taken in
)

// membership is this node's part in its cluster: how it comes in, what it tells other nodes of itself, and the conclusions
// that it draws from their hellos. A node draws conclusions about itself only; no node stops because another one says so.
type membership struct {
	node      *Node
	hellos    *peerwire.HelloAsker
	startRaft func(first *raft.Configuration) error // starts raft, with the first configuration of a new cluster or nil

	waitReason     atomic.Pointer[string] // why this node is in no cluster yet
	strangerAlarm  atomic.Pointer[string] // which listed node belongs to another cluster; nil: none is known
	joinRefusals   peerwire.LogLimiter
	digests        digestComparison
	lastAskedAgain time.Time // used by checkHellos alone
}

func newMembership(n *Node, startRaft func(*raft.Configuration) error) *membership {
	m := &membership{node: n, startRaft: startRaft}
	m.digests.digests = &n.replica.digests
	m.hellos = n.port.NewHelloAsker(peerwire.AskedNodes{
		Listed:  n.config.Nodes,
		Servers: m.configuredServers,
		Own:     func() peerwire.Hello { return m.answerHello(peerwire.HelloQuestion{}) },
		Question: func() peerwire.HelloQuestion {
			return peerwire.HelloQuestion{DigestAt: m.digests.chooseIndex(time.Now())}
		},
	})
	return m
}

// configuredServers returns raft's latest configuration, nil while this node is in no cluster.
func (m *membership) configuredServers() []raft.Server {
	r := m.node.raftIfRunning()
	if r == nil {
		return nil
	}
	return append([]raft.Server{}, r.GetConfiguration().Configuration().Servers...)
}

// checkHellos draws this node's conclusions from one round. Before this node is in a cluster, findCluster draws them.
func (m *membership) checkHellos(round *peerwire.HelloRound) {
	if round.Servers == nil {
		return
	}
	if err := m.checkRunsOnlyHere(round); err != nil {
		m.node.fail(err)
		return
	}
	m.announceMove(round)
	m.strangerAlarm.Store(strangerCluster(round.Own.Cluster, round.Answers))
	if time.Since(m.lastAskedAgain) >= askAgainPeriod {
		m.lastAskedAgain = time.Now()
		if err := m.askToJoinAgain(round); err != nil {
			m.node.log.Warn("the cluster does not know this node, and does not let it in", "error", err)
		}
	}
	m.compareDigests(round)
}

// askToJoin asks the leader at an address to take this node into its cluster, or as a member to note its new address.
func (m *membership) askToJoin(ctx context.Context, leader, cluster string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	c := m.node.port.ConnTo(leader, "")
	defer c.Close()
	switch j, err := c.AskJoin(ctx, m.joinQuestion(cluster)); {
	case err != nil:
		return fmt.Errorf("it does not answer: %w", err)
	case j.Refused != "":
		return fmt.Errorf("it refused: %s", j.Refused)
	case j.Cluster != cluster:
		return fmt.Errorf("it is of cluster %s by now, not %s", j.Cluster, cluster)
	}
	return nil
}

func (m *membership) joinQuestion(cluster string) peerwire.JoinQuestion {
	n := m.node
	return peerwire.JoinQuestion{ID: n.ID(), ProcessID: n.processID, Address: n.port.Advertised(), Level: n.config.Level, Cluster: cluster}
}

// askToJoinAgain asks a leader that does not know this node to take it in. The entry that took it in may have been lost
// with the leader that wrote it, before it was committed: then no node ever sends anything here. A node that voted, or has
// a row, was really in the cluster and has been removed on purpose.
func (m *membership) askToJoinAgain(round *peerwire.HelloRound) error {
	self := func(p peerwire.Peer) bool { return p.ID == m.node.ID() }
	for _, s := range round.Servers {
		if string(s.ID) == m.node.ID() && s.Suffrage == raft.Voter {
			return nil
		}
	}
	rows, err := m.node.tables.readNodes()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID == m.node.ID() {
			return nil
		}
	}
	for _, address := range m.node.config.Nodes {
		h, ok := round.Answers[address]
		leads := ok && h.Member && h.Cluster == round.Own.Cluster && h.Leader == h.Address
		if leads && !slices.ContainsFunc(h.Members, self) {
			return m.askToJoin(m.node.lifecycle.running, address, h.Cluster)
		}
	}
	return nil
}

// strangerCluster names the first node that is a member of another cluster; nil: there is none. Such a node and this one
// refuse each other's connections, so nothing else would give the reason: the list is wrong, a data folder is, or a node
// has taken over an address.
func strangerCluster(ours string, answers map[string]peerwire.Hello) *string {
	for _, address := range slices.Sorted(maps.Keys(answers)) {
		if h := answers[address]; h.Member && h.Cluster != ours {
			text := fmt.Sprintf("at the listed address %s runs node %s of cluster %s, and this node is of cluster %s: list the nodes of one cluster, and start each on its own data folder", address, h.ID, h.Cluster, ours)
			return &text
		}
	}
	return nil
}

// sortedPeers returns the peers in the order of ids, so that every node sees the same first one.
func sortedPeers(peers []peerwire.Peer) []peerwire.Peer {
	return slices.SortedFunc(slices.Values(peers), func(a, b peerwire.Peer) int { return cmp.Compare(a.ID, b.ID) })
}
