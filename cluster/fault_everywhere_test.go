package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// faultsTried is how many operations of each kind of fault fail where -everystop does not say all.
const faultsTried = 10

// failingDisk is a disk of which operations fail from some moment on.
type failingDisk struct {
	disk *vfs.MemFS
	kind errorfs.OpReadWrite // the operations that count: errorfs.OpIsRead or OpIsWrite
	err  error
	once bool // else every one from the first on

	mu    sync.Mutex
	armed bool
	left  int
	count int // of operations while armed
	first string
}

func failing(kind errorfs.OpReadWrite, err error, at int, once bool) *failingDisk {
	return &failingDisk{disk: vfs.NewCrashableMem(), kind: kind, err: err, left: at, once: once}
}

func (d *failingDisk) fs() vfs.FS {
	return errorfs.Wrap(d.disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.armed || op.Kind.ReadOrWrite() != d.kind {
			return nil
		}
		d.count++
		if d.left--; d.left >= 0 || d.once && d.first != "" {
			return nil
		}
		if d.first == "" {
			d.first = fmt.Sprintf("%s %v", op.Path, op.Kind)
		}
		return d.err
	}))
}

func (d *failingDisk) arm(armed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = armed
}

// met is the first operation that failed, and how many were counted.
func (d *failingDisk) met() (first string, count int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first, d.count
}

// One node's disk refuses an operation, for every operation of a life with saves and snapshots: once, or from then on. The
// other two go on, nothing that was acknowledged is lost, and the node goes on too or stops and says why. On a disk that is
// good again it comes back with the others' digest. In real time, since Pebble leaves a goroutine behind for ever where a
// disk fails that it cannot do without.
func TestAFaultAtEveryFileOperation(t *testing.T) {
	for name, from := range map[string]func(at int) *failingDisk{
		"a write fails":    func(at int) *failingDisk { return failing(errorfs.OpIsWrite, syscall.EIO, at, true) },
		"all writes fail":  func(at int) *failingDisk { return failing(errorfs.OpIsWrite, syscall.EIO, at, false) },
		"the disk is full": func(at int) *failingDisk { return failing(errorfs.OpIsWrite, syscall.ENOSPC, at, false) },
		"a read fails":     func(at int) *failingDisk { return failing(errorfs.OpIsRead, syscall.EIO, at, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := from(1 << 30)
			all.live(t)
			_, count := all.met()
			every := 1
			if !*everyStop {
				every = max(1, count/faultsTried)
			}
			t.Logf("%d operations, each %d. of them fails", count, every)
			for at := 0; at < count; at += every {
				t.Run(fmt.Sprint(at), func(t *testing.T) {
					t.Parallel()
					from(at).live(t)
				})
			}
		})
	}
}

// live is the life of a cluster of which one node has the disk. It ends with that node on a good one.
func (d *failingDisk) live(t *testing.T) {
	const victim = 2
	good := clustertest.Start(t, 0, nil)
	nodes := []string{"n0:7401", "n1:7401", "n2:7401"}
	for range nodes {
		good.Add(nodes, func(i int, config *cluster.Config) {
			if i == victim {
				config.FS = d.fs()
			}
		})
	}
	good.Ready()
	s := register(t, good.Nodes[good.Leader()], "gs")
	acked := map[string]string{}
	save := func(from, to int) {
		for i := from; i < to; i++ {
			key, value := fmt.Sprint("k", i%7), fmt.Sprint("v", i)
			s.revisions[key] = persist(t, good, s.set(key, value)).Revision
			acked[key] = value
		}
	}
	d.arm(true)
	for round := range 3 {
		save(round*10, round*10+10)
		if n := good.Nodes[victim]; n.Err() == nil {
			if err := n.Snapshot(); err != nil {
				t.Logf("the node itself could not take a snapshot: %v", err)
			}
		}
	}
	n := good.Nodes[victim]
	good.Until("the node to have caught up, or to have stopped", func() bool {
		return n.Err() != nil || n.Status().Applied == good.Nodes[good.Leader()].Status().Applied
	})
	first, _ := d.met()
	if err := n.Err(); err != nil && (first == "" || !errors.Is(err, cluster.ErrFailed)) {
		t.Errorf("after a fault at %q it stopped with %v", first, err)
	}
	d.arm(false)

	// What the disk holds, under a system that was started again.
	over, cancel := context.WithCancel(context.Background())
	cancel()
	good.Nodes[victim] = nil
	_ = n.Close(over) // it may stand still
	good.Reopen(victim, func(config *cluster.Config) {
		config.FS = d.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	})
	agree(t, good)
	for key, want := range acked {
		if got := value(t, good.Nodes[victim], key); got != want {
			t.Errorf("after a fault at %q %s is %q, acknowledged was %q", first, key, got, want)
		}
	}
	if t.Failed() {
		t.Logf("it failed at %s", strings.TrimSpace(first))
	}
}

// persist asks whoever leads until the command is answered, as a client does.
func persist(t *testing.T, c *clustertest.Cluster, command *fsm.Command) (r fsm.Result) {
	t.Helper()
	c.Until("a save to be acknowledged", func() bool {
		for _, n := range c.Nodes {
			if n == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			var err error
			r, err = n.Propose(ctx, command)
			cancel()
			if err == nil {
				return true
			}
		}
		return false
	})
	if r.Code != fsm.OK {
		t.Fatalf("a save was refused: %+v", r)
	}
	return r
}
