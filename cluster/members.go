package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
)

const (
	joinTimeout     = 5 * time.Second
	memberPeriod    = 500 * time.Millisecond
	helloTimeout    = time.Second
	caughtUpEntries = 256 // entries that a learner may be behind and still count as caught up
	caughtRounds    = 3   // times in a row that it must
)

// helloBook is the members' last hello answers.
type helloBook struct {
	mu      sync.Mutex
	answers map[string]peerwire.Hello // by id
}

func (r *helloBook) keepAnswers(answers map[string]peerwire.Hello) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = answers
}

func (r *helloBook) answerOf(id string) (peerwire.Hello, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.answers[id]
	return h, ok
}

// allAnswers are in the order of ids.
func (r *helloBook) allAnswers() []peerwire.Hello {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.answers), func(a, b peerwire.Hello) int { return cmp.Compare(a.ID, b.ID) })
}

// admitNode takes a node in as a learner, if the cluster expects one there: it gets the log, and votes once it has caught up.
// Who is in already keeps its vote and moves to the address that it says.
func (n *Node) admitNode(ctx context.Context, q peerwire.JoinQuestion) error {
	if q.ID == "" || q.Address == "" {
		return errors.New("join: an id and an address are needed")
	}
	if ours := n.currentIdentity().Cluster; q.Cluster != "" && q.Cluster != ours {
		return fmt.Errorf("join: that node is of cluster %s, this is cluster %s: start it with the nodes of its own, or on an empty data folder", q.Cluster, ours)
	}
	if position := n.tables.positionNow(); q.Level < position.Level {
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
		if err := n.checkNotRunningElsewhere(ctx, peerwire.HostPort(s.Address), q.ID, q.ProcessID); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if s.Suffrage == raft.Voter {
			f = r.AddVoter(s.ID, address, 0, joinTimeout)
		}
	}
	if f == nil {
		if err := n.checkExpected(q.Address); err != nil {
			return err
		}
		f = r.AddNonvoter(raft.ServerID(q.ID), address, 0, joinTimeout)
	}
	if err := n.waitForFuture(ctx, f); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	n.log.Info("took a node in as a learner", "node", q.ID, "address", q.Address)
	return nil
}

// Remove takes a node out of the cluster for good. Only the leader can, and not itself: hand the lead over first.
func (n *Node) Remove(ctx context.Context, id string) error {
	if _, err := n.awaitLeaderState(ctx); err != nil {
		return err
	}
	if id == n.ID() {
		return errors.New("remove node: this node leads the cluster; hand the lead over first")
	}
	r := n.raftIfRunning()
	if !slices.ContainsFunc(configuredPeers(r), func(p peerwire.Peer) bool { return p.ID == id }) {
		return fmt.Errorf("remove node: no node %s in the cluster", id)
	}
	if err := n.classifyProposeError(n.waitForFuture(ctx, r.RemoveServer(raft.ServerID(id), 0, joinTimeout))); err != nil {
		return fmt.Errorf("remove node: %w", err)
	}
	return nil
}

// tendMembers keeps the cluster's members as they should be, for one lead.
func (l *leaderState) tendMembers() {
	asking := nodeConns{}
	defer asking.close()
	steady := map[string]int{} // rounds in a row that a learner was caught up
	tick := time.NewTicker(memberPeriod)
	defer tick.Stop()
	for {
		last, row := l.node.raftIfRunning().LastIndex(), l.node.tables.positionNow().Index
		servers := l.node.raftIfRunning().GetConfiguration().Configuration().Servers
		answers := l.askAllNodes(servers, asking)
		l.hellos.keepAnswers(answers)
		l.compareSpace(servers, answers)
		if err := l.updateNodeRows(servers, answers); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("keep the nodes' addresses", "error", err)
		}
		if err := l.raiseLevel(servers, answers); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("raise the level", "error", err)
		}
		for _, s := range servers {
			h, ok := answers[string(s.ID)]
			if s.Suffrage == raft.Voter || !ok || h.LastIndex+caughtUpEntries < last || h.Applied+caughtUpEntries < row || h.Level < l.node.tables.positionNow().Level {
				delete(steady, string(s.ID))
				continue
			}
			if steady[string(s.ID)]++; steady[string(s.ID)] >= caughtRounds {
				if err := l.promoteLearner(s, servers); err != nil && l.ctx.Err() == nil {
					l.node.log.Warn("promote a learner", "node", s.ID, "error", err)
				}
				break // the configuration is another one now
			}
		}
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askAllNodes asks every member for its hello, all at the same time.
func (l *leaderState) askAllNodes(servers []raft.Server, asking nodeConns) map[string]peerwire.Hello {
	ctx, cancel := context.WithTimeout(l.ctx, helloTimeout)
	defer cancel()
	answers := map[string]peerwire.Hello{l.node.ID(): l.node.helloNow()}
	var mu sync.Mutex
	asking.askEach(l.node, servers, func(s raft.Server, a *peerwire.Conn) {
		h, err := a.AskHello(ctx)
		if err != nil || h.ID != string(s.ID) || !h.Member {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answers[h.ID] = h
	})
	return answers
}

// updateNodeRows makes the log's rows say where the members are. A follower knows the leader's client address only from them.
func (l *leaderState) updateNodeRows(servers []raft.Server, answers map[string]peerwire.Hello) error {
	rows, err := l.node.tables.readNodes()
	if err != nil {
		return err
	}
	written := map[string]fsm.Node{}
	for _, row := range rows {
		written[row.ID] = row
	}
	for _, s := range servers {
		id := string(s.ID)
		row, known := written[id]
		delete(written, id)
		want := fsm.Node{ID: id, Address: peerwire.HostPort(s.Address), Client: row.Client, Gossip: row.Gossip, ServerGossip: row.ServerGossip}
		if h, ok := answers[id]; ok {
			want.Client, want.Gossip, want.ServerGossip = h.Client, h.Gossip, h.ServerGossip
		}
		if known && row == want {
			continue
		}
		set := &fsm.SetNode{Id: id, Address: want.Address, Client: want.Client, Gossip: want.Gossip, ServerGossip: want.ServerGossip}
		if _, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, set)); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(written)) {
		if _, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, &fsm.RemoveNode{Id: id})); err != nil {
			return err
		}
	}
	return nil
}

// raiseLevel lets entries be of the highest level that every voter can apply. It and promote are one after the other, and both
// look at the tables: no learner gets a vote while a level that it cannot apply is on its way.
func (l *leaderState) raiseLevel(servers []raft.Server, answers map[string]peerwire.Hello) error {
	level := l.node.config.Level
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			level = min(level, answers[string(s.ID)].Level) // 0 for a node that has not answered
		}
	}
	was := l.node.tables.positionNow().Level
	if level <= was {
		return nil
	}
	if _, err := l.queue.proposeAndWait(l.ctx, fsm.NewCommand(nil, &fsm.Raise{Level: level})); err != nil {
		return err
	}
	l.node.log.Info("raised the level: every voter can apply it, and no older build can read the log any more", "level", level, "was", was)
	return nil
}

// promoteLearner gives a learner its vote. It replaces a voter under another id at the same address: that one can
// never answer again, since the listening node has another id.
func (l *leaderState) promoteLearner(learner raft.Server, servers []raft.Server) error {
	r := l.node.raftIfRunning()
	for _, s := range servers {
		if s.ID == learner.ID || string(s.ID) == l.node.ID() || peerwire.HostPort(s.Address) != peerwire.HostPort(learner.Address) {
			continue
		}
		if err := l.node.waitForFuture(l.ctx, r.RemoveServer(s.ID, 0, joinTimeout)); err != nil {
			return fmt.Errorf("remove its predecessor %s: %w", s.ID, err)
		}
		l.node.log.Info("removed a node that another one replaces", "node", s.ID, "by", learner.ID)
	}
	if err := l.node.waitForFuture(l.ctx, r.AddVoter(learner.ID, learner.Address, 0, joinTimeout)); err != nil {
		return err
	}
	l.node.log.Info("a learner has caught up and votes", "node", learner.ID)
	return nil
}

// sortedPeers is in the order of ids, so that every node sees the same first one.
func sortedPeers(peers []peerwire.Peer) []peerwire.Peer {
	return slices.SortedFunc(slices.Values(peers), func(a, b peerwire.Peer) int { return cmp.Compare(a.ID, b.ID) })
}
