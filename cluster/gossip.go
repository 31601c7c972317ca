package cluster

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/lock"
)

const (
	gossipNameSeparator = "~" // between a node's id and its life's number in a gossip name
	gossipLabel         = "profilenode nodes"
	gossipLeaveLimit    = time.Second
)

// openGossip takes part in the nodes' pool. It only ever says how members seem: no vote depends on it.
func (n *Node) openGossip() error {
	if n.config.GossipBind == "" {
		return nil
	}
	c := gossip.DefaultConfig()
	c.Name = n.gossipName()
	c.Bind, c.Advertise = n.config.GossipBind, n.config.GossipAdvertise
	c.Key, c.Insecure, c.Label, c.Log = n.config.GossipKey, n.config.GossipInsecure, gossipLabel, n.log
	c.Seeds = func() []string { return n.gossipSeeds(func(row fsm.Node) string { return row.Gossip }) }
	pool, err := gossip.Open(c)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	n.nodeGossip = pool
	return nil
}

// openServerGossip takes part in the game servers' pool, which is another one: a key and a label of their own, so that
// nothing a game server says there touches how nodes seem.
func (n *Node) openServerGossip() error {
	if n.config.ServerGossip.Bind == "" {
		return nil
	}
	seeds := func() []string { return n.gossipSeeds(func(row fsm.Node) string { return row.ServerGossip }) }
	pool, err := n.config.ServerGossip.OpenNode(n.gossipName(), seeds, n.log)
	if err != nil {
		return fmt.Errorf("game servers' gossip: %w", err)
	}
	n.serverGossip = pool
	return nil
}

// gossipName is this life's: a name that comes back at another address is refused.
func (n *Node) gossipName() string {
	return n.ID() + gossipNameSeparator + strconv.FormatInt(n.started.UnixNano(), 36)
}

// seemsDead says whether gossip holds a game server for dead. It does not block.
func (n *Node) seemsDead(inc lock.Incarnation) bool {
	if n.config.SeemsDead != nil && n.config.SeemsDead(inc) {
		return true
	}
	return n.serverGossip != nil && n.serverGossip.IsDead(gossip.ServerName(n.clusterID(), uint64(inc)))
}

// GossipState is how a game server seems to gossip from here: alive, dead, left, or empty when it is not known. Advice only.
func (n *Node) GossipState(inc lock.Incarnation) string {
	if n.serverGossip == nil {
		return ""
	}
	state, ok := n.serverGossip.MemberState(gossip.ServerName(n.clusterID(), uint64(inc)))
	if !ok {
		return ""
	}
	return state.String()
}

// gossipSeeds are the other nodes as the log knows them, by one of their addresses.
func (n *Node) gossipSeeds(address func(fsm.Node) string) []string {
	rows, err := n.tables.readNodes()
	if err != nil {
		return nil
	}
	var seeds []string
	for _, row := range rows {
		if at := address(row); row.ID != n.ID() && at != "" {
			seeds = append(seeds, at)
		}
	}
	return seeds
}

func (n *Node) gossipAddress() string {
	if n.nodeGossip == nil {
		return ""
	}
	return n.nodeGossip.Addr()
}

func (n *Node) serverGossipAddress() string {
	if n.serverGossip == nil {
		return ""
	}
	return n.serverGossip.Addr()
}

func (n *Node) closeGossip(pool *gossip.Pool) error {
	ctx, cancel := context.WithTimeout(context.Background(), gossipLeaveLimit)
	defer cancel()
	select {
	case <-n.closeNow:
		cancel()
	default:
	}
	if err := pool.Close(ctx); err != nil {
		n.log.Debug("leave gossip", "error", err)
	}
	return nil
}
