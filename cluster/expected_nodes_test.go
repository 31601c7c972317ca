package cluster_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// expect lets a node join from an address, as an operator does.
func expect(t *testing.T, leader *cluster.Node, address string) {
	t.Helper()
	s := register(t, leader, "operator of "+address)
	if r := propose(t, leader, s.do(&fsm.ExpectNode{Address: address})); r.Code != fsm.OK {
		t.Fatalf("expect a node at %s: code %d", address, r.Code)
	}
}

// A fourth node that lists the three of a cluster, and that none of them lists, stays outside until an operator lets it in.
// Both sides say so, and what to do.
func TestANodeThatNobodyExpectsDoesNotJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said [4]lines
		logs := func(i int, config *cluster.Config) { config.Log = slog.New(slog.NewTextHandler(&said[i], nil)) }
		c := clustertest.Start(t, 3, logs)
		c.Ready()
		fourth := c.Nodes[c.Add([]string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}, logs)]
		time.Sleep(3 * time.Minute)
		leader := c.Leader(0, 1, 2)
		if got := len(c.Nodes[leader].Status().Members); got != 3 || fourth.Status().State != "waiting" {
			t.Fatalf("%d nodes are in the cluster, and the fourth is %s", got, fourth.Status().State)
		}
		const hint = "run profilenode members add n3:7401"
		if !strings.Contains(alarms(fourth), hint) || !strings.Contains(said[3].String(), hint) {
			t.Errorf("the node that is refused does not say what to do: %q", alarms(fourth))
		}
		if times := strings.Count(said[leader].String(), hint); times < 1 || times > 4 {
			t.Errorf("in three minutes the leader logs the refusal %d times", times)
		}
		expect(t, c.Nodes[leader], "n3:7401")
		c.Until("the fourth to vote", func() bool { return len(voters(c.Nodes[leader])) == 4 })
		c.Ready()
	})
}

// A node that lost its disk comes back at an address that is listed, under a new id: it is expected.
func TestANodeAtAListedAddressIsExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		lost := (c.Leader() + 1) % 3
		c.Kill(lost)
		c.Open(lost) // in memory: it remembers nothing
		id := c.Nodes[lost].ID()
		c.Until("the new node to vote", func() bool {
			for _, m := range c.Nodes[c.Leader()].Status().Members {
				if m.ID == id && m.Voter {
					return true
				}
			}
			return false
		})
	})
}
