package cluster

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/profilenode/profilenode/gossip"
)

const (
	gossipMark  = "~" // between a node's id and its life's number in a gossip name
	gossipLabel = "profilenode nodes"
	gossipLeave = time.Second
)

// openGossip takes part in the nodes' pool. It only ever says how members seem: no vote depends on it.
func (n *Node) openGossip() error {
	if n.config.GossipBind == "" {
		return nil
	}
	c := gossip.DefaultConfig()
	c.Name = n.ID() + gossipMark + strconv.FormatInt(n.started.UnixNano(), 36)
	c.Bind, c.Advertise = n.config.GossipBind, n.config.GossipAdvertise
	c.Key, c.Label, c.Log = n.config.GossipKey, gossipLabel, n.log
	c.Seeds = n.gossipSeeds
	pool, err := gossip.Open(c)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	n.gossip = pool
	return nil
}

// gossipSeeds are the other nodes as the log knows them.
func (n *Node) gossipSeeds() []string {
	view, err := n.tables.view()
	if err != nil {
		return nil
	}
	defer view.Close()
	rows, err := view.Nodes()
	if err != nil {
		return nil
	}
	var seeds []string
	for _, row := range rows {
		if row.ID != n.ID() && row.Gossip != "" {
			seeds = append(seeds, row.Gossip)
		}
	}
	return seeds
}

func (n *Node) gossipAddress() string {
	if n.gossip == nil {
		return ""
	}
	return n.gossip.Addr()
}

func (n *Node) closeGossip() error {
	ctx, cancel := context.WithTimeout(context.Background(), gossipLeave)
	defer cancel()
	select {
	case <-n.hurry:
		cancel()
	default:
	}
	if err := n.gossip.Close(ctx); err != nil {
		n.log.Debug("leave gossip", "error", err)
	}
	return nil
}
