package cluster_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// noise does not shrink when it is compressed.
func noise(seed, bytes int) string {
	var b strings.Builder
	for i := 0; b.Len() < bytes; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, i))
		b.Write(sum[:])
	}
	return b.String()
}

// inMidInstall is three nodes whose leader is in the midst of sending a snapshot to one that lagged.
func inMidInstall(t *testing.T) (d *disks, leader, receiver int) {
	d = onDisks(t, 3, func(c *cluster.Config) { c.TrailingBytes, c.TrailingLogs = 0, 5 })
	leader = d.Leader()
	receiver = (leader + 1) % 3
	s := register(t, d.Nodes[leader], "gs")
	d.Network.Isolate(clustertest.Name(receiver), "n0", "n1", "n2")
	for i := range 40 {
		mustSet(t, d.Nodes[leader], s, fmt.Sprint("k", i), noise(i, 100<<10))
	}
	if err := d.Nodes[leader].Snapshot(); err != nil {
		t.Fatal(err)
	}
	d.Network.HealAll()
	d.Network.Delay(clustertest.Name(leader), clustertest.Name(receiver), 50*time.Millisecond)
	d.Until("a snapshot to be half there", func() bool { return receiving(d.fs[receiver]) })
	return d, leader, receiver
}

func receiving(fs vfs.FS) bool {
	names, _ := fs.List("snapshots")
	for _, name := range names {
		if _, err := fs.Stat(fs.PathJoin("snapshots", name, "data")); err == nil && !strings.HasPrefix(name, "checkpoint") && strings.HasSuffix(name, ".tmp") {
			return true
		}
	}
	return false
}

// A follower takes a snapshot in its main loop, and votes for nobody meanwhile. Its sender's machine vanishes: TCP alone
// would notice after minutes, and the third node needs that vote.
func TestASenderThatVanishesInMidSnapshotStopsNoElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, leader, receiver := inMidInstall(t)
		third := 3 - leader - receiver
		d.Network.Vanish(clustertest.Name(leader))
		lost := time.Now()
		if s := d.Nodes[receiver].Status(); s.Snapshot != 0 {
			t.Fatal("the snapshot is whole already: the test shows nothing")
		}
		d.Leader(third)
		if passed := time.Since(lost); passed > 15*time.Second {
			t.Errorf("without a leader for %v", passed)
		}
		d.Until("the receiver to catch up from the new leader", func() bool {
			return value(t, d.Nodes[receiver], "k39") == noise(39, 100<<10)
		})
	})
}
