package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

const (
	waitLogPeriod  = 5 * time.Second // how often a waiting node logs the reason
	agreeingRounds = 2               // rounds in a row in which all listed nodes must agree before a cluster is founded
)

// findCluster makes an empty node part of a cluster: of the one that the listed nodes are in, or of a new one. A new
// cluster is founded only when every listed node has answered that it is empty and lists the same nodes, so that two
// halves of the list cannot found two clusters. None is founded by a node that is told its cluster: empty folders are then the
// loss of one. findCluster returns once raft runs.
func (m *membership) findCluster(ctx context.Context) error {
	n := m.node
	if own := n.currentIdentity(); len(own.Founding) > 0 {
		return m.foundCluster(own.Cluster, own.Founding) // a crash interrupted the founding
	}
	if m.isOnlyNode() && n.config.Cluster == "" {
		return m.foundCluster(datafolder.NewID(), []peerwire.Peer{{ID: n.ID(), Address: n.port.Advertised(), Voter: true}})
	}
	agreed, said := 0, time.Time{}
	m.hellos.AskNow()
	for {
		round, ok := m.hellos.AwaitRound(ctx)
		if !ok {
			return nil
		}
		waits, done, err := m.decideBootstrap(ctx, round, &agreed)
		if err != nil || done {
			return err
		}
		if time.Since(said) >= waitLogPeriod {
			level := slog.LevelWarn
			if said.IsZero() {
				level = slog.LevelInfo // nodes that are started together wait for each other for a moment
			}
			said = time.Now()
			n.log.Log(ctx, level, "waits to be in a cluster", "why", waits)
		}
		m.waitReason.Store(&waits)
	}
}

// isOnlyNode reports whether the configuration makes this node a cluster by itself.
func (m *membership) isOnlyNode() bool {
	n := m.node
	nodes := n.config.Nodes
	return len(nodes) == 0 || len(nodes) == 1 && nodes[0] == n.port.Advertised()
}

// decideBootstrap acts on one round of answers. done is true once raft runs; else waits is the reason to wait.
func (m *membership) decideBootstrap(ctx context.Context, round *peerwire.HelloRound, agreed *int) (waits string, done bool, err error) {
	answers, expected := round.Answers, m.node.config.Cluster
	clusters := map[string]string{} // by cluster id, the address of one of its nodes
	for _, address := range slices.Sorted(maps.Keys(answers)) {
		if h := answers[address]; h.Member {
			clusters[h.Cluster] = address
		}
	}
	if len(clusters) > 1 {
		at := slices.Sorted(maps.Values(clusters))
		return fmt.Sprintf("the nodes at %s are in different clusters: list the nodes of one", strings.Join(at, " and ")), false, nil
	}
	for cluster, address := range clusters {
		if expected != "" && cluster != expected {
			return fmt.Sprintf("the node at %s is in cluster %s, and this node is to be in cluster %s (setting cluster): list the nodes of that one", address, cluster, expected), false, nil
		}
	}
	if len(clusters) == 1 {
		*agreed = 0
		return m.joinExisting(ctx, answers)
	}
	if expected != "" {
		return fmt.Sprintf("this node is to be in cluster %s (setting cluster), and no listed node is in it: start the nodes that have its data folders; "+
			"a new cluster is founded only without that setting", expected), false, nil
	}
	if waits := m.describeUndecided(answers, round.Errors); waits != "" {
		*agreed = 0
		return waits, false, nil
	}
	if *agreed++; *agreed < agreeingRounds {
		return "all nodes are there", false, nil
	}
	var peers []peerwire.Peer
	for _, h := range answers {
		peers = append(peers, peerwire.Peer{ID: h.ID, Address: h.Address, Voter: true})
	}
	if peers = sortedPeers(peers); peers[0].ID != m.node.ID() {
		return "node " + peers[0].ID + " is about to found the cluster", false, nil
	}
	return "", true, m.foundCluster(datafolder.NewID(), peers)
}

// describeUndecided returns the reason why no cluster may be founded yet; "" when all listed nodes have answered, are
// empty and list the same nodes.
func (m *membership) describeUndecided(answers map[string]peerwire.Hello, errs map[string]error) string {
	if len(errs) > 0 {
		var missing []string
		for address := range errs {
			missing = append(missing, address)
		}
		slices.Sort(missing)
		return "no answer yet from " + strings.Join(missing, ", ")
	}
	ours := slices.Sorted(slices.Values(m.node.config.Nodes))
	ids := map[string]string{}
	for address, h := range answers {
		if !slices.Equal(slices.Sorted(slices.Values(h.Nodes)), ours) {
			return fmt.Sprintf("the node at %s lists other nodes, %v: list the same on all", address, h.Nodes)
		}
		if other, twice := ids[h.ID]; twice {
			return fmt.Sprintf("%s and %s are the same node: list each node once", other, address)
		}
		ids[h.ID] = address
	}
	if ids[m.node.ID()] == "" {
		return "this node answers at none of the listed addresses: list its own too"
	}
	for _, address := range slices.Sorted(maps.Keys(answers)) {
		if h := answers[address]; h.Address != address { // a cluster knows its nodes by what they advertise: two would have one address
			return fmt.Sprintf("the node at %s advertises %s to the other nodes, and that is another listed node: correct its advertise-nodes", address, h.Address)
		}
	}
	return ""
}

// joinExisting takes up the membership that the cluster has given this node, or asks its leader for one.
func (m *membership) joinExisting(ctx context.Context, answers map[string]peerwire.Hello) (waits string, done bool, err error) {
	n := m.node
	waits = "the cluster has no leader yet"
	for _, h := range answers {
		if h.Member && slices.ContainsFunc(h.Members, func(p peerwire.Peer) bool { return p.ID == n.ID() }) {
			n.log.Info("is a member of a cluster", "cluster", h.Cluster)
			return "", true, m.enterCluster(h.Cluster)
		}
	}
	asked := map[string]bool{}
	for address, h := range answers {
		// Only a node that knows its members is asked: one that was just told of the cluster may not know yet that this
		// node is in it.
		if !h.Member || len(h.Members) == 0 || h.Leader == "" || asked[h.Leader] {
			continue
		}
		asked[h.Leader] = true
		if err := m.askToJoin(ctx, h.Leader, h.Cluster); err != nil {
			waits = fmt.Sprintf("the leader at %s, as %s says, does not let this node in: %v", h.Leader, address, err)
			continue
		}
		n.log.Info("joined a cluster as a learner", "cluster", h.Cluster)
		return "", true, m.enterCluster(h.Cluster)
	}
	return waits, false, nil
}

// foundCluster writes the first configuration of a new cluster and starts raft on it. Until raft runs, this node names
// the cluster to no other node, so a founding that a crash interrupts can be repeated.
func (m *membership) foundCluster(cluster string, voters []peerwire.Peer) error {
	n := m.node
	own := n.currentIdentity()
	own.Cluster, own.Founding = cluster, voters
	if err := n.takeIdentity(own); err != nil {
		return err
	}
	var servers []raft.Server
	for _, p := range voters {
		servers = append(servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: peerwire.RaftAddress(p.ID, p.Address)})
	}
	n.log.Info("founds a cluster: set cluster to its id on every node, so that lost data folders are never taken for a new cluster",
		"code", "FOUNDED", "cluster", cluster, "nodes", len(voters))
	return m.startRaft(&raft.Configuration{Servers: servers})
}

// enterCluster records that this node belongs to the cluster, and starts raft, which waits for the leader to contact it.
func (m *membership) enterCluster(cluster string) error {
	n := m.node
	own := n.currentIdentity()
	own.Cluster = cluster
	if err := n.takeIdentity(own); err != nil {
		return err
	}
	return m.startRaft(nil)
}
