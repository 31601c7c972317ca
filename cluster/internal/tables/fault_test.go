package tables

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/snapshot"
	"github.com/profilenode/profilenode/fsm"
)

// After a fault at any one file operation of an install, the node goes on with the old or the new tables, or it stops.
// The next start finds the old or the new tables.
func TestFaultDuringInstall(t *testing.T) {
	f := installWithFaults(t, func(errorfs.Op) bool { return true })
	if f.stops == 0 {
		t.Error("no fault made the node stop itself: the test does not reach the swap")
	}
	if f.failed < 10 {
		t.Errorf("%d of %d faults made the install fail: the test reaches too little", f.failed, f.tried)
	}
}

// The same for the swap's own writes, which TestFaultDuringInstall may miss: Pebble's background writes decide there
// which one fails.
func TestFaultAtTheSwap(t *testing.T) {
	f := installWithFaults(t, func(op errorfs.Op) bool {
		return strings.HasPrefix(op.Path, "node/tables/"+currentFile) || op.Kind == errorfs.OpFileSync && op.Path == "node/tables"
	})
	if f.unclear < 3 {
		t.Errorf("%d of %d faults left the swap unclear: the test does not reach it", f.unclear, f.tried)
	}
}

// faults counts the results of installs during each of which one write failed.
type faults struct {
	tried   int // installs
	failed  int // installs that returned an error
	stops   int // stops of the node
	unclear int // installs that returned errSwapUnclear
}

// installWithFaults installs a snapshot once for each write in scope, and lets that write fail.
func installWithFaults(t *testing.T, scope func(errorfs.Op) bool) (f faults) {
	t.Helper()
	logs := storyLog(t, 15)
	ahead := openDisk(t, vfs.NewMem(), "node")
	defer ahead.shut(t)
	ahead.play(t, logs, 1, 15)
	label, stream := takeSnapshot(t, ahead, 15)
	want := ahead.tables.Position()

	for at := 0; ; at++ {
		mem := vfs.NewMem()
		var mu sync.Mutex
		left, hit, armed := at, false, false
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if !armed || hit || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !scope(op) {
				return nil
			}
			if left--; left >= 0 {
				return nil
			}
			hit = true
			return errorfs.ErrInjected
		}))
		d := openDisk(t, fs, "node")
		d.play(t, logs, 1, 9)
		if err := d.tables.Flush(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		armed = true
		mu.Unlock()
		err := tryReceive(d, label, stream)
		if err == nil {
			err = tryRestoreNewest(d)
		}
		mu.Lock()
		armed = false
		reached := hit
		mu.Unlock()

		row := d.tables.Position().Index
		if err == nil && row != 15 || err != nil && row != 9 {
			t.Errorf("fault %d: the install returned %v, and the tables are at %d", at, err, row)
		}
		if err != nil {
			f.failed++
		}
		if errors.Is(err, errSwapUnclear) {
			f.unclear++
		}
		f.stops += d.stopped.count()
		// The node goes on, or it has stopped. Pebble may notice the fault only now.
		switch got := d.ApplyBatch(logs[9:15])[5].(type) {
		case error:
			if d.stopped.count() == 0 {
				t.Errorf("fault %d: an apply failed with %v, and the node was not stopped", at, got)
			}
		default:
			if got := d.tables.Position().Digest; got != want.Digest {
				t.Errorf("fault %d: digest %x, want %x", at, got, want.Digest)
			}
			if errors.Is(err, errSwapUnclear) {
				t.Errorf("fault %d: a node applies entries after an unclear swap", at)
			}
			row = 15
		}
		if err := d.tables.Close(); errors.Is(err, disk.ErrFailed) && d.stopped.count() > 0 {
			continue // Pebble is stuck, and holds its lock until the process ends
		} else if err != nil {
			t.Fatal(err)
		}
		again := openDisk(t, mem, "node")
		if got := again.tables.Position().Index; got != row && got != 15 {
			t.Errorf("fault %d: the next start finds the tables at %d, and they were at %d", at, got, row)
		}
		again.play(t, logs, 10, 15)
		if got := again.tables.Position().Digest; got != want.Digest {
			t.Errorf("fault %d: after a start the digest is %x, want %x", at, got, want.Digest)
		}
		again.shut(t)
		if !reached {
			return f
		}
		f.tried++
	}
}

// A fault of the tables that are being installed closes them too: Pebble would try to compact a damaged file again and again, in a
// folder that nothing closes any more.
func TestAFaultDuringAnInstallLeavesNoTablesOpen(t *testing.T) {
	logs := storyLog(t, 9)
	from, to := openDisk(t, vfs.NewMem(), "node"), openDisk(t, vfs.NewMem(), "node")
	defer from.shut(t)
	from.play(t, logs, 1, 9)
	label, stream := takeSnapshot(t, from, 9)
	receive(t, to, label, stream)
	labels, err := to.snapshots.List()
	if err != nil || len(labels) == 0 {
		t.Fatal(labels, err)
	}
	_, reader, err := to.snapshots.Open(labels[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	source, ok := snapshot.UnwrapReader(reader)
	if !ok {
		t.Fatal("not a reader of the store")
	}
	err = to.tables.Install(source.CopyTo, func(fsm.Position) error {
		to.tables.reportFault(errors.New("a damaged file"))
		<-to.tables.closing
		return nil
	})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("the install ended with %v, want %v", err, ErrClosed)
	}
	if err := to.tables.Close(); !errors.Is(err, disk.ErrFailed) {
		t.Errorf("close: %v, want %v", err, disk.ErrFailed)
	}
	<-to.tables.drained
}
