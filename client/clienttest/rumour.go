package clienttest

import (
	"fmt"
	"net"
	"testing"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/gossip/gossiptest"
)

const nodeRumours = "127.1.0.1:7404"

// StartGossiping is Start with a node that listens to game servers' gossip. Game servers take part with Gossip.
func StartGossiping(t testing.TB) *Cluster {
	t.Helper()
	network := gossiptest.New(t)
	return within(t, network, func(config *cluster.Config) {
		config.ServerGossip = gossip.ServerConfig{
			Bind: nodeRumours, Listen: network.Listen, ListenPacket: network.ListenPacket, Dial: network.DialFrom(nodeRumours),
		}
	})
}

// Gossip is for the configuration of the client with this name. Disconnect and Kill take its gossip along.
func (c *Cluster) Gossip(name string) client.Gossip {
	at := c.rumoursOf(name)
	return gossip.ServerConfig{
		Bind: at, Listen: c.network.Listen, ListenPacket: c.network.ListenPacket, Dial: c.network.DialFrom(at),
	}
}

// CutGossip cuts the gossip of the client with this name, and nothing else of it.
func (c *Cluster) CutGossip(name string) { c.moveGossip(name, 1) }

// HealGossip undoes it.
func (c *Cluster) HealGossip(name string) { c.moveGossip(name, 0) }

// CutCalls cuts off the client with this name as Disconnect does, but for its gossip.
func (c *Cluster) CutCalls(name string) { c.link(name).disconnect() }

// Seems is how the client with this name seems to the node's gossip: alive, dead, left, or empty. It is asked for the
// youngest incarnation of that name.
func (c *Cluster) Seems(name string) (seems string, err error) {
	view, err := c.node.View()
	if err != nil {
		return "", fmt.Errorf("look at %q: %w", name, err)
	}
	defer func() { _ = view.Close() }()
	servers, err := view.Servers()
	if err != nil {
		return "", fmt.Errorf("look at %q: %w", name, err)
	}
	youngest := uint64(0)
	for _, s := range servers {
		if s.Name == c.prefix+name && uint64(s.Incarnation) >= youngest {
			youngest, seems = uint64(s.Incarnation), c.node.Seems(s.Incarnation)
		}
	}
	return seems, nil
}

// moveGossip gives each client that is cut off a side of its own.
func (c *Cluster) moveGossip(name string, cut int) {
	if c.network == nil {
		return
	}
	at := c.rumoursOf(name)
	c.mu.Lock()
	side := cut * c.rumours[name]
	c.mu.Unlock()
	c.network.Move(side, at)
}

func (c *Cluster) rumoursOf(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rumours[name] == 0 {
		c.rumours[name] = len(c.rumours) + 1
	}
	return net.JoinHostPort(fmt.Sprintf("127.2.0.%d", c.rumours[name]), "7405")
}
