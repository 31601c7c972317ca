package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

var everyStop = flag.Bool("everystop", false, "lose the power after every file operation of a node's life, not after some")

// stopsTried is after how many operations the power is lost where -everystop does not say all.
const stopsTried = 150

// ground is the disks of a cluster, which lose their power together at the same moment of all three.
type ground struct {
	mu     sync.Mutex // every operation of every disk begins under it, so a moment is one of all disks
	random *rand.Rand
	disks  []*vfs.MemFS
	victim int // whose operations are counted
	count  int // of them
	every  int // power is lost after each so many; 0: never
	acked  map[string]string
	doing  string
	losses []loss
}

// loss is what is left when the power is lost.
type loss struct {
	after int
	doing string
	kept  int // percent of what was not synced
	disks []*vfs.MemFS
	acked map[string]string
}

func newGround(nodes, victim, every int) *ground {
	g := &ground{random: rand.New(rand.NewPCG(1, 2)), victim: victim, every: every, acked: map[string]string{}}
	for range nodes {
		g.disks = append(g.disks, vfs.NewCrashableMem())
	}
	return g
}

func (g *ground) fs(i int) vfs.FS {
	return errorfs.Wrap(g.disks[i], errorfs.InjectorFunc(func(op errorfs.Op) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "marker.") {
			// Pebble relies on a journal: the name of a file is never lost where that of a later marker is kept. The file
			// system in memory loses names in any order.
			if err := syncNames(g.disks[i], op.Path); err != nil {
				return err
			}
		}
		if i != g.victim || op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		if g.every > 0 && g.count%g.every == 0 {
			for _, kept := range []int{0, 50} {
				l := loss{after: g.count, doing: fmt.Sprintf("%s, before operation %d on %s", g.doing, op.Kind, op.Path), kept: kept, acked: maps.Clone(g.acked)}
				for _, disk := range g.disks {
					l.disks = append(l.disks, disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: g.random}))
				}
				g.losses = append(g.losses, l)
			}
		}
		g.count++
		return nil
	}))
}

func syncNames(fs vfs.FS, path string) error {
	folder, err := fs.OpenDir(fs.PathDir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (g *ground) act(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doing = what
}

// save is acknowledged when it returns: any later loss of power must keep it.
func (g *ground) save(t *testing.T, n *cluster.Node, s *server, key, value string) {
	t.Helper()
	mustSet(t, n, s, key, value)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.acked[key] = value
}

func (g *ground) configure(i int, c *cluster.Config) {
	c.FS = g.fs(i)
	c.TrailingBytes, c.TrailingLogs = 1, 4
}

func (g *ground) snapshot(t *testing.T, n *cluster.Node) {
	t.Helper()
	if err := n.Snapshot(); err != nil {
		t.Fatalf("%s: %v", g.doing, err)
	}
}

// live is one scripted life of the victim: it is founded, saves, flushes, makes snapshots and cuts its log behind them,
// starts again, is sent another's snapshot, gives up a tail that nobody else has, and starts again.
func (g *ground) live(t *testing.T) {
	g.act("founding")
	c := clustertest.Start(t, len(g.disks), g.configure)
	c.Ready()
	leader := c.Leader()
	s := register(t, c.Nodes[leader], "gs")
	save := func(from, to int) {
		for i := from; i < to; i++ {
			g.save(t, c.Nodes[leader], s, fmt.Sprint("k", i%7), fmt.Sprint("v", i))
		}
	}
	g.act("saves")
	save(0, 20)
	g.act("a snapshot of its own")
	agree(t, c)
	g.snapshot(t, c.Nodes[g.victim])
	g.act("saves behind a snapshot")
	save(20, 30)
	agree(t, c)
	g.snapshot(t, c.Nodes[g.victim])
	g.act("a start")
	c.Kill(g.victim)
	c.Open(g.victim)
	leader = c.Leader()
	save(30, 35)

	g.act("an install")
	c.Kill(g.victim)
	others := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == g.victim })
	leader = c.Leader(others...)
	save(35, 55)
	for _, i := range others {
		g.snapshot(t, c.Nodes[i])
	}
	c.Open(g.victim)
	c.Until("the victim to have installed", func() bool { return value(t, c.Nodes[g.victim], "k5") == "v54" })
	agree(t, c)

	g.act("a tail that nobody has")
	leader = c.Leader()
	if leader != g.victim {
		c.Until("the victim to lead", func() bool {
			return c.Nodes[c.Leader()].TransferTo(t.Context(), c.Nodes[g.victim]) == nil
		})
		leader = c.Leader(g.victim)
	}
	save(55, 58)
	for _, i := range others {
		c.Network.Cut(clustertest.Name(g.victim), clustertest.Name(i))
	}
	brief, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	_, err := c.Nodes[g.victim].Propose(brief, s.double().set("tail", "nobody"))
	cancel()
	if err == nil {
		t.Fatal("a leader without its followers acknowledged")
	}
	leader = c.Leader(others...)
	save(58, 60)
	c.Network.HealAll()
	c.Until("the victim to follow", func() bool { return value(t, c.Nodes[g.victim], "k3") == "v59" })
	agree(t, c)
	g.act("the last start")
	c.Kill(g.victim)
	c.Open(g.victim)
	agree(t, c)
	c.Stop()
}

// double is a copy of a server, with other numbers.
func (s *server) double() *server {
	return &server{inc: s.inc, nonce: s.nonce, number: s.number + 1000, revisions: map[string]uint64{}}
}

// recovered starts a cluster on what a loss left. Every node must come up, since its disk is good, and hold every
// acknowledged save.
func (l loss) recovered(t *testing.T) {
	c := clustertest.Start(t, 0, nil)
	var nodes []string
	for i := range l.disks {
		nodes = append(nodes, clustertest.Name(i)+":7401")
	}
	for _, disk := range l.disks {
		c.Add(nodes, func(_ int, config *cluster.Config) {
			config.FS, config.TrailingBytes, config.TrailingLogs = disk, 1, 4
		})
	}
	c.Ready()
	leader := c.Leader()
	for key, want := range l.acked {
		// What was under way and unknown may have landed behind it, never before it.
		if got := value(t, c.Nodes[leader], key); got != want && !later(got, want) {
			t.Errorf("%s is %q, acknowledged was %q", key, got, want)
		}
	}
	s := register(t, c.Nodes[leader], "afterwards")
	mustSet(t, c.Nodes[leader], s, "afterwards", "x")
	agree(t, c)
	c.Stop()
}

func later(got, want string) bool {
	var g, w int
	if _, err := fmt.Sscanf(got+" "+want, "v%d v%d", &g, &w); err != nil {
		return false
	}
	return g == w+7
}

// The power of all three nodes is lost after the k-th file operation of one of them, for k = 1, 2, 3, ...: with none and
// with some of what was not synced. The cluster comes up, has equal digests and every acknowledged save.
func TestAStopAtEveryFileOperation(t *testing.T) {
	for victim := range 3 {
		t.Run(clustertest.Name(victim), func(t *testing.T) {
			every := 1
			if !*everyStop {
				synctest.Test(t, func(t *testing.T) {
					g := newGround(3, victim, 0)
					g.live(t)
					every = max(1, g.count*3/stopsTried)
				})
			}
			var losses []loss
			synctest.Test(t, func(t *testing.T) {
				g := newGround(3, victim, every)
				g.live(t)
				losses = g.losses
				t.Logf("%d file operations, power lost after each %d. of them", g.count, every)
			})
			acts := map[string]int{}
			for _, l := range losses {
				name := fmt.Sprintf("after %d, %d %% kept", l.after, l.kept)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l.recovered(t)
						if t.Failed() {
							t.Logf("the power was lost in %s", l.doing)
						}
					})
				})
				acts[l.doing]++
			}
			if len(acts) < 10 {
				t.Errorf("power was lost at %d different places, want many", len(acts))
			}
		})
	}
}

// A node founds its cluster in several steps. Wherever they are cut, the next start makes a cluster.
func TestAFoundingIsFinishedAfterAStopAnywhere(t *testing.T) {
	var losses []loss
	synctest.Test(t, func(t *testing.T) {
		g := newGround(1, 0, 1)
		c := clustertest.Start(t, 1, g.configure)
		c.Ready()
		c.Stop()
		losses = g.losses
	})
	for _, l := range losses {
		synctest.Test(t, func(t *testing.T) {
			l.recovered(t)
			if t.Failed() {
				t.Logf("the power was lost in %s", l.doing)
			}
		})
	}
}
