package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/lock"
)

const (
	gossipNameSeparator = "~" // between a node's id and the number of its process in a gossip name
	gossipLabel         = "profilenode nodes"
	gossipLeaveLimit    = time.Second

	gossipOpenPause = 2 * time.Second // between two attempts to take part in a pool whose advertised name is not known yet
)

// gossipPools are the two pools in which a node gossips. They only say how members seem: no vote depends on them. The game
// servers' pool has a key and a label of its own, so that nothing that a game server says there changes how nodes seem.
type gossipPools struct {
	nodes   gossipPool
	servers gossipPool
}

// gossipPool is one of the two pools. It holds nil while this node does not take part.
type gossipPool struct{ atomic.Pointer[gossip.Pool] }

// open takes part in the pools that n's configuration names. A pool that this node cannot take part in yet is opened later.
func (g *gossipPools) open(n *Node) error {
	c, self, log := n.config, n.ID(), n.log
	name := gossipName(self, n.started)
	seeds := func(address func(fsm.Node) string) (seeds []string) { // the other nodes are found by the rows of the tables
		known, err := n.tables.ReadNodes()
		if err != nil {
			return nil
		}
		for _, row := range known {
			if at := address(row); row.ID != self && at != "" {
				seeds = append(seeds, at)
			}
		}
		return seeds
	}
	closing, run := n.lifecycle.closing, &n.lifecycle.goroutines
	if c.GossipBind != "" {
		p := gossip.DefaultConfig()
		p.Name = name
		p.Bind, p.Advertise = c.GossipBind, c.GossipAdvertise
		p.Key, p.Insecure, p.Label, p.Log = c.GossipKey, c.GossipInsecure, gossipLabel, log
		p.Seeds = func() []string { return seeds(func(row fsm.Node) string { return row.Gossip }) }
		open := func() (*gossip.Pool, error) { return gossip.Open(p) }
		if err := g.nodes.openOrRetry(closing, run, open, log.With("pool", "nodes")); err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
	}
	if c.ServerGossip.Bind != "" {
		serverSeeds := func() []string { return seeds(func(row fsm.Node) string { return row.ServerGossip }) }
		open := func() (*gossip.Pool, error) { return c.ServerGossip.OpenNode(name, serverSeeds, log) }
		if err := g.servers.openOrRetry(closing, run, open, log.With("pool", "game servers")); err != nil {
			return fmt.Errorf("game servers' gossip: %w", err)
		}
	}
	return nil
}

// openOrRetry takes part in the pool by a call of open. While the advertised name is not known, it tries again in a goroutine
// of run, until closing ends: gossip only advises, and a node serves without it. Any other error is a fault of the
// configuration, and is returned.
func (g *gossipPool) openOrRetry(closing context.Context, run *sync.WaitGroup, open func() (*gossip.Pool, error), log *slog.Logger) error {
	pool, err := open()
	if err == nil {
		g.Store(pool)
		return nil
	}
	if !errors.Is(err, gossip.ErrUnresolved) {
		return err
	}
	run.Go(func() {
		var limiter peerwire.LogLimiter
		for {
			if limiter.ShouldLog("", time.Now()) {
				log.Warn("this node does not gossip yet: it goes on without gossip, and tries again", "error", err)
			}
			select {
			case <-closing.Done():
				return
			case <-time.After(gossipOpenPause):
			}
			if pool, err = open(); err != nil {
				continue
			}
			log.Info("this node gossips now", "address", pool.Addr())
			g.Store(pool)
			if closing.Err() != nil { // leave may have come before Store
				g.leave(closing, log)
			}
			return
		}
	})
	return nil
}

// leave leaves the pool. It tells the others only while hurried has not ended.
func (g *gossipPool) leave(hurried context.Context, log *slog.Logger) {
	pool := g.Swap(nil)
	if pool == nil {
		return
	}
	ctx, cancel := context.WithTimeout(hurried, gossipLeaveLimit)
	defer cancel()
	if err := pool.Close(ctx); err != nil {
		log.Debug("leave gossip", "error", err)
	}
}

// gossipName returns the name of a process of a node.
func gossipName(id string, started time.Time) string {
	return id + gossipNameSeparator + strconv.FormatInt(started.UnixNano(), 36)
}

// seemsDead reports whether gossip holds a game server of the cluster for dead. It does not block.
func (g *gossipPools) seemsDead(cluster []byte, inc lock.Incarnation) bool {
	servers := g.servers.Load()
	return servers != nil && servers.IsDead(gossip.ServerName(cluster, uint64(inc)))
}

// serverState returns how a game server of the cluster seems: alive, dead, left, or empty when it is not known.
func (g *gossipPools) serverState(cluster []byte, inc lock.Incarnation) string {
	servers := g.servers.Load()
	if servers == nil {
		return ""
	}
	state, ok := servers.MemberState(gossip.ServerName(cluster, uint64(inc)))
	if !ok {
		return ""
	}
	return state.String()
}

// nodeStates returns how each node seems, by id. self is this node's.
func (g *gossipPools) nodeStates(self string) map[string]string {
	seems := map[string]string{}
	nodes := g.nodes.Load()
	if nodes == nil {
		return seems
	}
	seems[self] = gossip.Alive.String()
	newest := map[string]time.Time{}
	for _, m := range nodes.Members() {
		id, _, ok := strings.Cut(m.Name, gossipNameSeparator)
		if ok && !m.Since.Before(newest[id]) {
			seems[id], newest[id] = m.State.String(), m.Since
		}
	}
	return seems
}

// addresses returns this node's addresses in the two pools, "" where it does not take part.
func (g *gossipPools) addresses() (nodes, servers string) {
	if pool := g.nodes.Load(); pool != nil {
		nodes = pool.Addr()
	}
	if pool := g.servers.Load(); pool != nil {
		servers = pool.Addr()
	}
	return nodes, servers
}

// close leaves the pools. It tells the others only while hurried has not ended.
func (g *gossipPools) close(hurried context.Context, log *slog.Logger) {
	g.nodes.leave(hurried, log)
	g.servers.leave(hurried, log)
}
