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

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/quorum"
)

const (
	joinTimeout    = 5 * time.Second
	helloTimeout   = time.Second
	votersAskLimit = 2 * time.Second // the age of the answers by which voters that work are counted
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
	copyAlarm      atomic.Pointer[string] // which data folder was copied; nil: none is known
	moves          quorum.MoveWatch       // used by checkHellos alone
	joinRefusals   peerwire.LogLimiter
	digests        digestComparison
	lastAskedAgain time.Time // used by checkHellos alone
}

func newMembership(n *Node, startRaft func(*raft.Configuration) error) *membership {
	m := &membership{node: n, startRaft: startRaft}
	m.digests.digests = &n.replica.Digests
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

// askMembers returns a round of hellos that begins after the call. ok is false if it did not end within votersAskLimit, or
// ctx or this node did before.
func (m *membership) askMembers(ctx context.Context) (round *peerwire.HelloRound, ok bool) {
	asking, cancel := context.WithTimeout(m.node.lifecycle.running, votersAskLimit) // no round is held once this node stops
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return m.hellos.AwaitRound(asking)
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
	m.findMoved(round)
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

// findMoved lets this node reach the voters that answer elsewhere than at their configured addresses, where that is safe.
func (m *membership) findMoved(round *peerwire.HelloRound) {
	_, leader := m.node.raftIfRunning().LeaderWithID()
	found := m.moves.CompareRound(round, leader != "", func(address string) (peerwire.Hello, error) {
		ctx, cancel := context.WithTimeout(m.node.lifecycle.running, helloTimeout)
		defer cancel()
		c := m.node.port.ConnTo(address, "")
		defer c.Close()
		return c.AskHello(ctx, peerwire.HelloQuestion{})
	})
	before := m.node.port.Moved()
	for id, at := range found.Moved {
		if before[id] != at {
			m.node.log.Warn("a voter does not answer where the configuration has it, and is reached elsewhere", "node", id, "address", at.Address)
		}
	}
	m.node.port.SetMoved(found.Moved)
	m.copyAlarm.Store(nil)
	if found.Copied != "" {
		m.copyAlarm.Store(&found.Copied)
	}
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
	rows, err := m.node.tables.ReadNodes()
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

// checkOldAddress refuses to start a node that still runs where the tables say that it is.
func (m *membership) checkOldAddress(ctx context.Context) error {
	n := m.node
	rows, err := n.tables.ReadNodes()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID == n.ID() && row.Address != n.port.Advertised() {
			return m.checkNotRunningElsewhere(ctx, row.Address, n.ID(), n.processID)
		}
	}
	return nil
}

// checkRunsOnlyHere returns an error if the configuration, as this node or another one knows it, has this node at another
// address and it runs there too: it was moved by a copy of its data folder, and then started here again.
func (m *membership) checkRunsOnlyHere(round *peerwire.HelloRound) error {
	elsewhere := map[string]bool{}
	for _, h := range slices.AppendSeq([]peerwire.Hello{round.Own}, maps.Values(round.Answers)) {
		for _, p := range h.Members {
			if p.ID == m.node.ID() && p.Address != m.node.port.Advertised() {
				elsewhere[p.Address] = true
			}
		}
	}
	for address := range elsewhere {
		if err := m.checkNotRunningElsewhere(m.node.lifecycle.running, address, m.node.ID(), m.node.processID); err != nil {
			return err
		}
	}
	return nil
}

// announceMove tells the leader when this member, with its log and its votes, listens at another address than the
// configuration has. No other node can reach it before that, so it asks them.
func (m *membership) announceMove(round *peerwire.HelloRound) {
	moved, places := false, m.node.port.Moved()
	var others []string
	for _, p := range round.Own.Members {
		switch {
		case p.ID != m.node.ID():
			if at, elsewhere := places[p.ID]; elsewhere {
				p.Address = at.Address
			}
			others = append(others, p.Address)
		case p.Address != m.node.port.Advertised():
			moved = true
		}
	}
	if !moved {
		return
	}
	ctx, cancel := context.WithTimeout(m.node.lifecycle.running, joinTimeout)
	defer cancel()
	q := m.joinQuestion(round.Own.Cluster)
	if m.node.leadership.now() != nil {
		if err := m.admitNode(ctx, q); err != nil {
			m.node.log.Warn("move to another address", "error", err)
		}
		return
	}
	for _, address := range others {
		c := m.node.port.ConnTo(address, "")
		limited, cancel := context.WithTimeout(ctx, helloTimeout)
		j, err := c.AskJoin(limited, q)
		cancel()
		c.Close()
		if err == nil && j.Cluster != "" {
			return
		}
	}
}

// compareDigests stops this node if its tables differ from those of a majority.
func (m *membership) compareDigests(round *peerwire.HelloRound) {
	if found, index := m.digests.compareRound(round); found == ownDigestDiffers {
		m.markFolderUnusable(index)
	}
}

// markFolderUnusable stops this node for good, because its tables differ from the majority's. The reason is written to
// node.json first, so that no start after a crash serves these tables again.
func (m *membership) markFolderUnusable(index uint64) {
	n := m.node
	own := n.currentIdentity()
	own.UnusableReason = fmt.Sprintf("after entry %d its tables differed from those of a majority of the voters", index)
	if err := n.takeIdentity(own); err != nil {
		n.log.Error("mark the data folder as unusable", "error", err)
	}
	if n.leadership.now() != nil {
		hand, cancel := context.WithTimeout(n.lifecycle.running, unusableTransferLimit)
		defer cancel()
		if err := n.leadership.transferLeadership(hand); err != nil {
			n.log.Warn("hand the lead over", "error", err)
		}
	}
	n.fail(datafolder.NewUnusableError(n.folder.Dir, own.UnusableReason))
}
