package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// answers are this node's answers to the questions of other nodes.
func (n *Node) answers() peerwire.Answers {
	return peerwire.Answers{Nonce: n.answerNonce, Hello: n.helloNow, Join: n.answerJoin, Digest: n.answerDigest}
}

// answerNonce answers with the state of the running raft instance or not at all: the state on disk may be older than a
// vote.
func (n *Node) answerNonce() (peerwire.NonceAnswer, error) {
	r := n.raftIfRunning()
	if r == nil || r.State() == raft.Shutdown {
		return peerwire.NonceAnswer{}, peerwire.ErrNoAnswer
	}
	return peerwire.NonceAnswer{Term: r.CurrentTerm(), WallMS: n.config.Now().UnixMilli()}, nil
}

func (n *Node) helloNow() peerwire.Hello {
	// Raft is read before the identity: a node whose raft runs knows its cluster, and must not answer without its name.
	r := n.raftIfRunning()
	own := n.currentIdentity()
	h := peerwire.Hello{
		ID: own.ID, ProcessID: n.processID, Address: n.port.Advertised(), Client: n.config.Client, Gossip: n.gossipAddress(), ServerGossip: n.serverGossipAddress(),
		Level: n.config.Level, Version: n.config.Version, Nodes: n.config.Nodes,
		FreeBytes: n.space.freeBytes.Load(), BelowReserve: n.space.belowReserve.Load(),
		Detector: n.config.Detector,
	}
	if r == nil {
		return h
	}
	h.Cluster, h.Member = own.Cluster, true
	h.Members = configuredPeers(r)
	leader, _ := r.LeaderWithID()
	h.Leader = peerwire.HostPort(leader)
	h.Term, h.LastIndex, h.Applied = r.CurrentTerm(), r.LastIndex(), n.tables.positionNow().Index
	return h
}

// configuredPeers returns the nodes of the latest configuration, committed or not: raft itself counts by it.
func configuredPeers(r *raft.Raft) []peerwire.Peer {
	var peers []peerwire.Peer
	for _, s := range r.GetConfiguration().Configuration().Servers {
		peers = append(peers, peerwire.Peer{ID: string(s.ID), Address: peerwire.HostPort(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return peers
}

func (n *Node) answerJoin(q peerwire.JoinQuestion) peerwire.JoinAnswer {
	r := n.raftIfRunning()
	if r == nil {
		return peerwire.JoinAnswer{Refused: "this node is in no cluster yet"}
	}
	l := n.leaderStateNow()
	if l == nil {
		leader, _ := r.LeaderWithID()
		return peerwire.JoinAnswer{Leader: peerwire.HostPort(leader), Refused: "this node does not lead"}
	}
	ctx, cancel := context.WithTimeout(l.ctx, joinTimeout)
	defer cancel()
	if err := n.admitNode(ctx, q); err != nil {
		if n.joinRefusals.ShouldLog(q.Address, time.Now()) {
			n.log.Warn("refused a node that asked to join; it asks again", "node", q.ID, "address", q.Address, "error", err)
		}
		return peerwire.JoinAnswer{Refused: err.Error()}
	}
	return peerwire.JoinAnswer{Cluster: n.currentIdentity().Cluster}
}

var errNoDigest = errors.New("no digest of that entry")

func (n *Node) answerDigest(index uint64) (uint64, error) {
	if n.raftIfRunning() == nil {
		return 0, peerwire.ErrNoAnswer
	}
	digest, ok := n.replica.digests.digestAt(index)
	if !ok {
		return 0, errNoDigest
	}
	return digest, nil
}
