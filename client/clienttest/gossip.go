package clienttest

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/internal/memnet"
)

const (
	nodeGossipHost = "127.1.0.1"
	nodeGossipAt   = nodeGossipHost + ":7404"
)

// StartGossiping is Start with a node that listens to game servers' gossip. Game servers take part with Gossip.
func StartGossiping(t testing.TB) *Cluster {
	t.Helper()
	t.Cleanup(func() { time.Sleep(time.Minute) }) // comes last: gossip's probes under way end by themselves, in time
	return startWith(t, func(config *cluster.Config, network *memnet.Network) {
		config.ServerGossip = gossipAt(network, nodeGossipHost, nodeGossipAt)
	})
}

func gossipAt(network *memnet.Network, host, at string) gossip.ServerConfig {
	h := network.Host(host)
	return gossip.ServerConfig{Bind: at, Listen: h.Listen, ListenPacket: h.ListenPacket, Dial: h.Dial}
}

// Gossip is for the configuration of the client with this name. Disconnect and Kill take its gossip along.
func (c *Cluster) Gossip(name string) client.Gossip {
	host := c.gossipHost(name)
	return gossipAt(c.network, host, net.JoinHostPort(host, "7405"))
}

// CutGossip cuts the gossip of the client with this name, and nothing else of it.
func (c *Cluster) CutGossip(name string) { c.network.Unplug(c.gossipHost(name)) }

// HealGossip undoes it.
func (c *Cluster) HealGossip(name string) { c.network.Plug(c.gossipHost(name)) }

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
			youngest, seems = uint64(s.Incarnation), c.node.GossipState(s.Incarnation)
		}
	}
	return seems, nil
}

// gossipHost is the address of the machine, apart from that of its calls, on which the client with this name gossips.
func (c *Cluster) gossipHost(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	host := c.gossipHosts[name]
	if host == "" {
		host = fmt.Sprintf("127.2.%d.%d", len(c.gossipHosts)/250, 1+len(c.gossipHosts)%250)
		c.gossipHosts[name] = host
	}
	return host
}
