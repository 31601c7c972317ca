package cluster_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// A leader that has lost the others writes that a node is in, the node takes its word, and the next leader cuts the entry off.
// The node asks again, and is let in.
func TestWhoWasLetInByAnEntryThatWasLostAsksAgain(t *testing.T) {
	for _, reached := range []string{"the log", "nothing"} {
		t.Run(reached+" came from the lost leader", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := func(_ int, c *cluster.Config) {
					c.Heartbeat, c.Election, c.LeaderLease = 4*time.Second, 4*time.Second, 4*time.Second
				}
				c := clustertest.Start(t, 3, slow)
				c.Ready()
				leader := c.Leader()
				s := register(t, c.Nodes[leader], "gs")
				mustSet(t, c.Nodes[leader], s, "k", "v")
				others := []string{clustertest.Name((leader + 1) % 3), clustertest.Name((leader + 2) % 3)}
				expect(t, c.Nodes[leader], "n3:7401")
				c.Network.Isolate(clustertest.Name(leader), others...)
				if reached == "nothing" {
					c.Network.Isolate("n3", others...)
				}
				joiner := c.Add([]string{"n0:7401", "n1:7401", "n2:7401"}, slow)
				n := c.Nodes[joiner]
				c.Until("n3 to take itself for a member", func() bool { return len(n.Status().Cluster) > 0 })
				next := c.Leader((leader+1)%3, (leader+2)%3)
				mustSet(t, c.Nodes[next], register(t, c.Nodes[next], "other"), "q", "v")
				c.Network.HealAll()
				c.Until("n3 to have everything", func() bool { return value(t, n, "q") == "v" })
			})
		})
	}
}

// Who was removed on purpose does not come back by itself.
func TestWhoWasRemovedDoesNotAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		expect(t, c.Nodes[c.Leader()], "n3:7401")
		n := c.Nodes[c.Add([]string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}, nil)]
		leader := c.Nodes[c.Leader()]
		members := func() int { return len(leader.Status().Members) }
		c.Until("n3 to vote", func() bool {
			return members() == 4 && !slices.ContainsFunc(leader.Status().Members, func(m cluster.Member) bool { return !m.Voter })
		})
		if err := leader.Remove(t.Context(), n.ID()); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			time.Sleep(time.Second)
			if got := members(); got != 3 {
				t.Fatalf("%d nodes are in, want the three that were left", got)
			}
		}
	})
}

// A node is not taken out if the voters that are left and that answer are no majority: with one of three down, the cluster would
// stand still. The one that is down may go, and so may a healthy one afterwards; the leader may not.
func TestARemovalThatWouldCostTheQuorumIsRefused(t *testing.T) {
	c := clustertest.Start(t, 3, nil)
	c.Ready()
	at := c.Leader()
	leader, down, healthy := c.Nodes[at], (at+1)%3, (at+2)%3
	goneID := c.Nodes[down].ID()
	c.Kill(down)
	c.Until("the leader to miss it", func() bool {
		return errors.Is(leader.Remove(t.Context(), c.Nodes[healthy].ID()), cluster.ErrNotRemovable)
	})
	for _, id := range []string{leader.ID(), "no such id"} {
		if err := leader.Remove(t.Context(), id); !errors.Is(err, cluster.ErrNotRemovable) {
			t.Errorf("remove %s: %v, want that it is refused", id, err)
		}
	}
	for _, id := range []string{goneID, c.Nodes[healthy].ID()} {
		if err := leader.Remove(t.Context(), id); err != nil {
			t.Errorf("remove %s: %v", id, err)
		}
	}
	if members := leader.Status().Members; len(members) != 1 {
		t.Errorf("members %v, want the leader alone", members)
	}
	for _, id := range []string{goneID, c.Nodes[healthy].ID()} {
		c.Until("the audit to say that "+id+" was removed", func() bool { return auditSays(t, leader, fsm.AuditRemoveNode, id) })
	}
}
