package cluster_test

import (
	"testing"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
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
