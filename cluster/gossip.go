package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/lock"
)

const (
	gossipNameSeparator = "~" // between a node's id and the number of its process in a gossip name
	gossipLabel         = "profilenode nodes"
	gossipLeaveLimit    = time.Second
)

// gossipPools are the two pools in which a node gossips. They only say how members seem: no vote depends on them. The game
// servers' pool has a key and a label of its own, so that nothing that a game server says there changes how nodes seem.
type gossipPools struct {
	nodes   *gossip.Pool // nil: this node does not take part
	servers *gossip.Pool // nil: this node does not take part
}

// open takes part in the pools that c names. name must be new for each process: a name that comes back at another address
// is refused. rows returns the rows of all nodes, by which the other ones are found.
func (g *gossipPools) open(c Config, self, name string, log *slog.Logger, rows func() ([]fsm.Node, error)) error {
	seeds := func(address func(fsm.Node) string) (seeds []string) {
		known, err := rows()
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
	if c.GossipBind != "" {
		p := gossip.DefaultConfig()
		p.Name = name
		p.Bind, p.Advertise = c.GossipBind, c.GossipAdvertise
		p.Key, p.Insecure, p.Label, p.Log = c.GossipKey, c.GossipInsecure, gossipLabel, log
		p.Seeds = func() []string { return seeds(func(row fsm.Node) string { return row.Gossip }) }
		pool, err := gossip.Open(p)
		if err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
		g.nodes = pool
	}
	if c.ServerGossip.Bind != "" {
		pool, err := c.ServerGossip.OpenNode(name, func() []string { return seeds(func(row fsm.Node) string { return row.ServerGossip }) }, log)
		if err != nil {
			return fmt.Errorf("game servers' gossip: %w", err)
		}
		g.servers = pool
	}
	return nil
}

// gossipName returns the name of a process of a node.
func gossipName(id string, started time.Time) string {
	return id + gossipNameSeparator + strconv.FormatInt(started.UnixNano(), 36)
}

// seemsDead reports whether gossip holds a game server of the cluster for dead. It does not block.
func (g *gossipPools) seemsDead(cluster []byte, inc lock.Incarnation) bool {
	return g.servers != nil && g.servers.IsDead(gossip.ServerName(cluster, uint64(inc)))
}

// serverState returns how a game server of the cluster seems: alive, dead, left, or empty when it is not known.
func (g *gossipPools) serverState(cluster []byte, inc lock.Incarnation) string {
	if g.servers == nil {
		return ""
	}
	state, ok := g.servers.MemberState(gossip.ServerName(cluster, uint64(inc)))
	if !ok {
		return ""
	}
	return state.String()
}

// nodeStates returns how each node seems, by id. self is this node's.
func (g *gossipPools) nodeStates(self string) map[string]string {
	seems := map[string]string{}
	if g.nodes == nil {
		return seems
	}
	seems[self] = gossip.Alive.String()
	newest := map[string]time.Time{}
	for _, m := range g.nodes.Members() {
		id, _, ok := strings.Cut(m.Name, gossipNameSeparator)
		if ok && !m.Since.Before(newest[id]) {
			seems[id], newest[id] = m.State.String(), m.Since
		}
	}
	return seems
}

// addresses returns this node's addresses in the two pools, "" where it does not take part.
func (g *gossipPools) addresses() (nodes, servers string) {
	if g.nodes != nil {
		nodes = g.nodes.Addr()
	}
	if g.servers != nil {
		servers = g.servers.Addr()
	}
	return nodes, servers
}

// close leaves the pools. It tells the others only while hurried has not ended.
func (g *gossipPools) close(hurried context.Context, log *slog.Logger) {
	for _, pool := range []*gossip.Pool{g.nodes, g.servers} {
		if pool == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(hurried, gossipLeaveLimit)
		if err := pool.Close(ctx); err != nil {
			log.Debug("leave gossip", "error", err)
		}
		cancel()
	}
}
