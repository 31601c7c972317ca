package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// installs counts the snapshots that a node took in from another.
type installs struct {
	slog.Handler
	taken *atomic.Int64
}

func (i installs) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "Installed remote snapshot") {
		i.taken.Add(1)
	}
	return nil
}

func (i installs) Enabled(context.Context, slog.Level) bool { return true }
func (i installs) WithAttrs([]slog.Attr) slog.Handler       { return i }

// trailing is three nodes with a snapshot after each 128 KiB, and how many installs each saw.
func trailing(t *testing.T, bytes, entries uint64) (*disks, []*atomic.Int64) {
	var taken []*atomic.Int64
	d := onDisks(t, 3, func(c *cluster.Config) {
		taken = append(taken, new(atomic.Int64))
		c.Log = slog.New(installs{taken: taken[len(taken)-1]})
		c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 128<<10, bytes, entries
	})
	return d, taken
}

// load saves 10 KiB twenty times a second.
func load(t *testing.T, n *cluster.Node, s *server, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		mustSet(t, n, s, fmt.Sprint("k", i%60), noise(i, 10<<10))
		if i%20 == 0 {
			renew(t, n, s)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A follower that was away while less was written than stays behind a snapshot comes back by the log, and the log holds no
// more than what stays and what is written from one snapshot to the next.
func TestAFollowerThatMissedLessThanStaysComesBackByTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stays = 1 << 20
		d, taken := trailing(t, stays, 5)
		leader := d.Leader()
		n, away := d.Nodes[leader], (leader+1)%3
		s := register(t, n, "gs")
		load(t, n, s, 0, 150)
		agree(t, d.Cluster)
		d.Kill(away)
		load(t, n, s, 150, 235) // 850 KiB
		missed := n.Status()
		d.reopen(away, d.fs[away])
		agree(t, d.Cluster)
		if got := taken[away].Load(); got != 0 {
			t.Errorf("it took %d snapshots for less than stays in the log", got)
		}
		if missed.Snapshot < missed.Last-40 {
			t.Fatalf("the newest snapshot is of %d and the log ends at %d: nothing was cut", missed.Snapshot, missed.Last)
		}
		// A snapshot is looked for once a second, in which 200 KiB are written.
		_, got := n.LogHolds()
		if most := uint64(stays + 128<<10 + 300<<10); got < stays || got > most {
			t.Errorf("the log holds %d bytes, want %d and at most %d", got, stays, most)
		}
	})
}

// However few bytes may stay, so many entries do: a follower is at least some entries behind all the time.
func TestSomeEntriesStayHoweverFewBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := trailing(t, 1, 100)
		n := d.Nodes[d.Leader()]
		s := register(t, n, "gs")
		load(t, n, s, 0, 150)
		if err := n.Snapshot(); err != nil {
			t.Fatal(err)
		}
		if entries, _ := n.LogHolds(); entries < 100 || entries > 110 {
			t.Errorf("%d entries stay, want 100", entries)
		}
	})
}

// Under load each snapshot is outdated when it arrives. What came after it must still be in the log, or the follower is sent
// the next one, for as long as the load lasts.
func TestAFollowerUnderLoadCatchesUpByOneSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := cluster.DefaultConfig()
		scale := whole.SnapshotBytes / (128 << 10)
		d, taken := trailing(t, whole.TrailingBytes/scale, max(whole.TrailingLogs/scale, 1))
		leader := d.Leader()
		n, away := d.Nodes[leader], (leader+1)%3
		s := register(t, n, "gs")
		load(t, n, s, 0, 20)
		agree(t, d.Cluster)
		d.Kill(away)
		load(t, n, s, 20, 200)
		d.Network.Delay(clustertest.Name(leader), clustertest.Name(away), 500*time.Millisecond)
		d.reopen(away, d.fs[away])
		load(t, n, s, 200, 600)
		behind := n.Status().Last - d.Nodes[away].Status().Applied
		if got := taken[away].Load(); got != 1 || behind > 20 {
			t.Errorf("after 20 s of load it has taken %d snapshots and is %d entries behind, want one snapshot, and level", got, behind)
		}
	})
}

// What was written before a start counts too, or a node that starts again and again would never cut its log.
func TestWhatWasWrittenBeforeAStartCallsForASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := trailing(t, 1, 5)
		leader := d.Leader()
		s := register(t, d.Nodes[leader], "gs")
		load(t, d.Nodes[leader], s, 0, 9) // 90 KiB of 128
		agree(t, d.Cluster)
		away := (leader + 1) % 3
		if got := d.Nodes[away].Status().Snapshot; got != 0 {
			t.Fatalf("a snapshot of %d was taken already: the test shows nothing", got)
		}
		d.Kill(away)
		d.reopen(away, d.fs[away])
		load(t, d.Nodes[leader], s, 9, 16)
		d.Until("a snapshot after 160 KiB in two lives", func() bool { return d.Nodes[away].Status().Snapshot > 0 })
	})
}
