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

	"github.com/profilenode/profilenode/fsm"
)

const (
	joinTimeout  = 5 * time.Second
	tendEvery    = 500 * time.Millisecond
	helloTimeout = time.Second
	caughtUp     = 256 // entries that a learner may be behind and still count as caught up
	caughtRounds = 3   // times in a row that it must
)

// roll is what the members said of themselves last.
type roll struct {
	mu   sync.Mutex
	said map[string]helloAnswer // by id
}

func (r *roll) keep(said map[string]helloAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = said
}

func (r *roll) of(id string) (helloAnswer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.said[id]
	return h, ok
}

// all are in the order of ids.
func (r *roll) all() []helloAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.said), func(a, b helloAnswer) int { return cmp.Compare(a.ID, b.ID) })
}

// admit takes a node in as a learner, if the cluster expects one there: it gets the log, and votes once it has caught up. Who
// is in already keeps its vote and moves to the address that it says.
func (n *Node) admit(ctx context.Context, q joinQuestion) error {
	if q.ID == "" || q.Address == "" {
		return errors.New("join: an id and an address are needed")
	}
	if ours := n.identity().Cluster; q.Cluster != "" && q.Cluster != ours {
		return fmt.Errorf("join: that node is of cluster %s, this is cluster %s: start it with the nodes of its own, or on an empty data folder", q.Cluster, ours)
	}
	if standing := n.tables.standing(); q.Level < standing.Level {
		return fmt.Errorf("join: this cluster is at level %d, that node knows %d: install a newer build there", standing.Level, q.Level)
	}
	r := n.running()
	address := raftAddress(q.ID, q.Address)
	var f raft.Future
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if string(s.ID) != q.ID {
			continue
		}
		if s.Address == address {
			return nil
		}
		if err := n.elsewhere(ctx, hostPort(s.Address), q.ID, q.Life); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if s.Suffrage == raft.Voter {
			f = r.AddVoter(s.ID, address, 0, joinTimeout)
		}
	}
	if f == nil {
		if err := n.expects(q.Address); err != nil {
			return err
		}
		f = r.AddNonvoter(raft.ServerID(q.ID), address, 0, joinTimeout)
	}
	if err := n.await(ctx, f); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	n.log.Info("took a node in as a learner", "node", q.ID, "address", q.Address)
	return nil
}

// Remove takes a node out of the cluster for good. Only the leader can, and not itself: hand the lead over first.
func (n *Node) Remove(ctx context.Context, id string) error {
	if _, err := n.lead(ctx); err != nil {
		return err
	}
	if id == n.ID() {
		return errors.New("remove node: this node leads the cluster; hand the lead over first")
	}
	r := n.running()
	if !slices.ContainsFunc(members(r), func(p Peer) bool { return p.ID == id }) {
		return fmt.Errorf("remove node: no node %s in the cluster", id)
	}
	if err := n.proposed(n.await(ctx, r.RemoveServer(raft.ServerID(id), 0, joinTimeout))); err != nil {
		return fmt.Errorf("remove node: %w", err)
	}
	return nil
}

// tend keeps the cluster's members as they should be, for one lead.
func (l *lead) tend() {
	asking := askers{}
	defer asking.close()
	steady := map[string]int{} // rounds in a row that a learner was caught up
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		last, row := l.node.running().LastIndex(), l.node.tables.standing().Index
		servers := l.node.running().GetConfiguration().Configuration().Servers
		said := l.askAll(servers, asking)
		l.seen.keep(said)
		l.weighSpace(servers, said)
		if err := l.keepRows(servers, said); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("keep the nodes' addresses", "error", err)
		}
		if err := l.raise(servers, said); err != nil && l.ctx.Err() == nil {
			l.node.log.Warn("raise the level", "error", err)
		}
		for _, s := range servers {
			h, ok := said[string(s.ID)]
			if s.Suffrage == raft.Voter || !ok || h.Last+caughtUp < last || h.Applied+caughtUp < row || h.Level < l.node.tables.standing().Level {
				delete(steady, string(s.ID))
				continue
			}
			if steady[string(s.ID)]++; steady[string(s.ID)] >= caughtRounds {
				if err := l.promote(s, servers); err != nil && l.ctx.Err() == nil {
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

// askAll asks every member who it is, all at a time.
func (l *lead) askAll(servers []raft.Server, asking askers) map[string]helloAnswer {
	ctx, cancel := context.WithTimeout(l.ctx, helloTimeout)
	defer cancel()
	said := map[string]helloAnswer{l.node.ID(): l.node.hello()}
	var mu sync.Mutex
	asking.each(l.node, servers, func(s raft.Server, a *asker) {
		h, err := a.askHello(ctx)
		if err != nil || h.ID != string(s.ID) || !h.Member {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		said[h.ID] = h
	})
	return said
}

// keepRows makes the log's rows say where the members are. A follower knows the leader's client address only from them.
func (l *lead) keepRows(servers []raft.Server, said map[string]helloAnswer) error {
	rows, err := l.node.tables.nodes()
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
		want := fsm.Node{ID: id, Address: hostPort(s.Address), Client: row.Client, Gossip: row.Gossip, ServerGossip: row.ServerGossip}
		if h, ok := said[id]; ok {
			want.Client, want.Gossip, want.ServerGossip = h.Client, h.Gossip, h.Servers
		}
		if known && row == want {
			continue
		}
		set := &fsm.SetNode{Id: id, Address: want.Address, Client: want.Client, Gossip: want.Gossip, ServerGossip: want.ServerGossip}
		if _, err := l.queue.propose(l.ctx, fsm.Do(nil, set)); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(written)) {
		if _, err := l.queue.propose(l.ctx, fsm.Do(nil, &fsm.RemoveNode{Id: id})); err != nil {
			return err
		}
	}
	return nil
}

// raise lets entries be of the highest level that every voter can apply. It and promote are one after the other, and both
// look at the tables: no learner gets a vote while a level that it cannot apply is on its way.
func (l *lead) raise(servers []raft.Server, said map[string]helloAnswer) error {
	level := l.node.config.Level
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			level = min(level, said[string(s.ID)].Level) // 0 of who has not answered
		}
	}
	was := l.node.tables.standing().Level
	if level <= was {
		return nil
	}
	if _, err := l.queue.propose(l.ctx, fsm.Do(nil, &fsm.Raise{Level: level})); err != nil {
		return err
	}
	l.node.log.Info("raised the level: every voter can apply it, and no older build can read the log any more", "level", level, "was", was)
	return nil
}

// promote gives a learner its vote. A voter under another id at the same address is what it replaces: that one can never
// answer again, since what listens there has another id.
func (l *lead) promote(learner raft.Server, servers []raft.Server) error {
	r := l.node.running()
	for _, s := range servers {
		if s.ID == learner.ID || string(s.ID) == l.node.ID() || hostPort(s.Address) != hostPort(learner.Address) {
			continue
		}
		if err := l.node.await(l.ctx, r.RemoveServer(s.ID, 0, joinTimeout)); err != nil {
			return fmt.Errorf("remove its predecessor %s: %w", s.ID, err)
		}
		l.node.log.Info("removed a node that another one replaces", "node", s.ID, "by", learner.ID)
	}
	if err := l.node.await(l.ctx, r.AddVoter(learner.ID, learner.Address, 0, joinTimeout)); err != nil {
		return err
	}
	l.node.log.Info("a learner has caught up and votes", "node", learner.ID)
	return nil
}

// sortedPeers is in the order of ids, so that every node sees the same first one.
func sortedPeers(peers []Peer) []Peer {
	return slices.SortedFunc(slices.Values(peers), func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
}
