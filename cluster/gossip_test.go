package cluster_test

import (
	"log/slog"
	"testing"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/gossip"
)

// Gossip's own sockets are on loopback, in real time.
func TestGossipShowsTheDeadAndRemovesNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for gossip")
	}
	c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) { config.GossipBind = "127.0.0.1:0" })
	c.Ready()
	leader := c.Leader()
	seems := func(state string) (count int) {
		for _, m := range c.Nodes[leader].Status().Members {
			if m.Gossip == state {
				count++
			}
		}
		return count
	}
	c.Until("all to seem alive", func() bool { return seems("alive") == 3 })
	c.Kill((leader + 1) % 3)
	c.Until("one to seem dead", func() bool { return seems("dead") == 1 })
	if got := len(voters(c.Nodes[leader])); got != 3 {
		t.Errorf("%d voters after gossip said dead, want 3", got)
	}
}

// The nodes' rows say where each gossips with game servers, and every node hears one that knows a single seed. The pool is
// none of the nodes' own.
func TestNodesHearGameServersInAPoolApart(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for gossip")
	}
	key := []byte("0123456789abcdef")
	c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) {
		config.GossipBind, config.GossipKey = "127.0.0.1:0", key
		config.ServerGossip = gossip.ServerConfig{Bind: "127.0.0.1:0", Key: key}
	})
	c.Ready()
	n := c.Nodes[c.Leader()]
	var seeds []string
	var id []byte
	c.Until("every node's row to say where it gossips with game servers", func() bool {
		view, err := n.View()
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		rows, err := view.Nodes()
		if err != nil {
			t.Fatal(err)
		}
		seeds, id = nil, view.Position().Cluster
		for _, row := range rows {
			if row.ServerGossip != "" && row.ServerGossip != row.Gossip {
				seeds = append(seeds, row.ServerGossip)
			}
		}
		return len(seeds) == 3
	})
	inc := register(t, n, "game").inc
	leave, err := gossip.ServerConfig{Key: key}.Join(id, uint64(inc), func() []string { return seeds[:1] }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	seems := func(want string) func() bool {
		return func() bool {
			for _, n := range c.Nodes {
				if n.GossipState(inc) != want {
					return false
				}
			}
			return true
		}
	}
	c.Until("every node to hear it", seems("alive"))
	c.Until("every node to seem alive in the nodes' own pool too", func() bool {
		for _, m := range n.Status().Members {
			if m.Gossip != "alive" {
				return false
			}
		}
		return true
	})
	if err := leave(t.Context()); err != nil {
		t.Error(err)
	}
	c.Until("every node to hear that it left", seems("left"))
}

// A node serves without gossip while the name that it advertises there is not known, as that of a pod which has just been
// started.
func TestANodeServesWhileItsGossipNameIsUnknown(t *testing.T) {
	c := onDisk(t.TempDir())
	c.GossipBind, c.GossipAdvertise, c.GossipInsecure = "127.0.0.1:0", "node-0.invalid:0", true
	n := open(t, c)
	mustSet(t, n, register(t, n, "gs"), "k", "v")
	if got := value(t, n, "k"); got != "v" {
		t.Errorf("k is %q, want v", got)
	}
}
