package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// loggedCodes counts the codes in the log of a node, and keeps the other fields of the last line with each.
type loggedCodes struct {
	slog.Handler
	mu     *sync.Mutex
	counts map[string]int
	fields map[string]map[string]string
}

func newLoggedCodes() loggedCodes {
	return loggedCodes{mu: new(sync.Mutex), counts: make(map[string]int), fields: make(map[string]map[string]string)}
}

func (l loggedCodes) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fields := make(map[string]string)
	r.Attrs(func(a slog.Attr) bool {
		fields[a.Key] = a.Value.String()
		return true
	})
	if code := fields["code"]; code != "" {
		l.counts[code]++
		l.fields[code] = fields
	}
	return nil
}

func (l loggedCodes) Enabled(context.Context, slog.Level) bool { return true }
func (l loggedCodes) WithAttrs([]slog.Attr) slog.Handler       { return l }

func (l loggedCodes) count(code string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[code]
}

// lastField is a field of the last line with a code.
func (l loggedCodes) lastField(code, name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fields[code][name]
}

// trailing is three nodes with a snapshot after each 128 KiB, and the codes that each logged.
func trailing(t *testing.T, bytes, entries uint64) (*disks, []loggedCodes) {
	var logged []loggedCodes
	d := onDisks(t, 3, func(c *cluster.Config) {
		logged = append(logged, newLoggedCodes())
		c.Log = slog.New(logged[len(logged)-1])
		c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 128<<10, bytes, entries
	})
	return d, logged
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
		d, logged := trailing(t, stays, 5)
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
		if got := logged[away].count("SNAPSHOT_INSTALLED"); got != 0 {
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
		d, logged := trailing(t, whole.TrailingBytes/scale, max(whole.TrailingLogs/scale, 1))
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
		if got := logged[away].count("SNAPSHOT_INSTALLED"); got != 1 || behind > 20 {
			t.Errorf("after 20 s of load it has taken %d snapshots and is %d entries behind, want one snapshot, and level", got, behind)
		}
		// Programs know these events by their codes; those of raft's messages hang on its wording.
		for code, node := range map[string]int{
			"LEADS": leader, "SNAPSHOT_BEGINS": leader, "SNAPSHOT_COMPLETE": leader, "LOG_CUT": leader, "FOLLOWS": away, "SNAPSHOT_RECEIVED": away,
		} {
			if logged[node].count(code) == 0 {
				t.Errorf("node %d logged no %s", node, code)
			}
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
