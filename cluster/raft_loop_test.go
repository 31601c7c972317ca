package cluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster/clustertest"
)

// Raft answers as a leader, as a follower, and while there is no majority: a restart would help in none of them.
func TestRaftAnswersInEachState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		check := func(when string) {
			t.Helper()
			for range 30 { // longer than a question may be open
				for i, n := range c.Nodes {
					if err := n.CheckRaft(); err != nil {
						t.Errorf("%s, node %d: %v", when, i, err)
					}
				}
				time.Sleep(time.Second)
			}
		}
		check("with a leader")
		for i := range c.Nodes {
			c.Network.Isolate(clustertest.Name(i), "n0", "n1", "n2")
		}
		check("without a majority")
		c.Network.HealAll()
		check("healed")
	})
}
