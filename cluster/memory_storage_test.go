package cluster_test

import (
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// Nodes in memory on file systems that outlive them: all crash at once, with what they synced, and go on.
func TestNodesInMemoryComeBackOnTheirFileSystems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := make([]*vfs.MemFS, 3)
		configs := make([]cluster.Config, 3)
		c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
			disks[i] = vfs.NewCrashableMem()
			config.FS = disks[i]
			configs[i] = *config
		})
		c.Ready()
		leader := c.Leader()
		ids := []string{c.Nodes[0].ID(), c.Nodes[1].ID(), c.Nodes[2].ID()}
		s := register(t, c.Nodes[leader], "gs")
		mustSet(t, c.Nodes[leader], s, "k", "v")
		mustSet(t, c.Nodes[leader], s, "k", "w")
		for i := range 3 {
			disks[i] = disks[i].CrashClone(vfs.CrashCloneCfg{})
		}
		for i := range 3 {
			c.Kill(i)
		}
		for i := range 3 {
			configs[i].FS = disks[i]
			n, err := cluster.Open(t.Context(), configs[i])
			if err != nil {
				t.Fatal(err)
			}
			c.Nodes[i] = n
			if id := c.Nodes[i].ID(); id != ids[i] {
				t.Errorf("node %d is %s after the crash, was %s", i, id, ids[i])
			}
		}
		leader = c.Leader()
		if got := value(t, c.Nodes[leader], "k"); got != "w" {
			t.Errorf("k is %q after all lost power, want w", got)
		}
		mustSet(t, c.Nodes[leader], s, "after", "x")
		agree(t, c)
	})
}
