package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// A follower crashes after an incoming snapshot is complete and listed, and before its tables are swapped for it. Raft
// could take the listed snapshot for applied: the tables would go on with a hole that nobody sees.
func TestASnapshotThatWasListedAndNotInstalledIsInstalledAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, func(c *cluster.Config) { c.TrailingBytes, c.TrailingLogs = 0, 5 })
		leader := d.Leader()
		n, lagging := d.Nodes[leader], (leader+1)%3
		s := register(t, n, "gs")
		mustSet(t, n, s, "k0", "early")
		agree(t, d.Cluster)
		d.Network.Isolate(clustertest.Name(lagging), "n0", "n1", "n2")
		for i := range 50 {
			mustSet(t, n, s, fmt.Sprint("k", i), "late")
		}
		if err := n.Snapshot(); err != nil {
			t.Fatal(err)
		}
		d.Kill(lagging)
		// This is what lies on its disk between the two.
		if ok, err := vfs.Clone(d.fs[leader], d.fs[lagging], "snapshots", "snapshots", vfs.CloneSync); err != nil || !ok {
			t.Fatal(ok, err)
		}
		d.reopen(lagging, d.fs[lagging])
		if got := value(t, d.Nodes[lagging], "k49"); got != "late" {
			t.Errorf("after the start k49 is %q, want what the listed snapshot holds", got)
		}
		d.Network.HealAll()
		mustSet(t, n, s, "after", "w")
		agree(t, d.Cluster)
		if got := value(t, d.Nodes[lagging], "k0"); got != "late" {
			t.Errorf("k0 is %q", got)
		}
	})
}

// Entries that hold no command never reach the tables, so a read must not wait for them: after a change of members they
// are the last ones of the log until somebody writes.
func TestAReadAfterAChangeOfMembersWaitsForNoCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		n := c.Nodes[c.Leader()]
		s := register(t, n, "gs")
		mustSet(t, n, s, "k", "v")
		expect(t, c.Nodes[c.Leader()], "n3:7401")
		fourth := c.Add([]string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}, nil)
		c.Until("the fourth to vote, and the log to end there", func() bool {
			status := n.Status()
			return len(voters(n)) == 4 && status.Committed == status.Last && status.Committed > status.Applied && c.Nodes[fourth].Status().Last == status.Last
		})
		began := time.Now()
		if _, err := n.ConfirmLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := value(t, n, "k"); got != "v" || time.Since(began) > time.Second {
			t.Errorf("read %q after %v", got, time.Since(began))
		}
	})
}
