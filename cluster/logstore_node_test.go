package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// A follower that has a log, and missed what the others have cut since, takes a snapshot over it, and goes on behind it
// without a hole in its log, also after a restart.
func TestACutOffFollowerTakesASnapshotOverItsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) {
			config.FS, config.SnapshotBytes, config.TrailingBytes, config.TrailingLogs = vfs.NewMem(), 64<<10, 32<<10, 50
		})
		c.Ready()
		leader := c.Leader()
		n, cut := c.Nodes[leader], (leader+1)%3
		s := register(t, n, "gs")
		set := func(first, last int) {
			for i := first; i < last; i++ {
				mustSet(t, n, s, fmt.Sprint("k", i%20), strings.Repeat("x", 1000))
				if i%50 == 0 {
					renew(t, n, s)
					time.Sleep(1500 * time.Millisecond)
				}
			}
		}
		set(0, 10)
		agree(t, c)
		c.Network.Isolate(clustertest.Name(cut), "n0", "n1", "n2")
		before := c.Nodes[cut].Status()
		set(10, 500)
		c.Network.HealAll()
		agree(t, c)
		if after := c.Nodes[cut].Status(); after.Snapshot <= before.Last {
			t.Fatalf("the follower has a snapshot of entry %d, and its log ended at %d: it got entries, not a snapshot", after.Snapshot, before.Last)
		}
		set(500, 520)
		agree(t, c)

		c.Kill(cut)
		c.Open(cut)
		set(520, 530)
		agree(t, c)
	})
}
