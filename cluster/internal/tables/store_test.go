package tables

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/snapshot"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

var storyCluster = bytes.Repeat([]byte{9}, 16)

// storyLog returns a log up to last: a configuration, the founding of a cluster, the registration of a game server, and
// then sessions that each save one profile and end. The entries 4, 6, 8, ... start a session, and the entry after each
// ends it.
func storyLog(t testing.TB, last uint64) []*raft.Log {
	t.Helper()
	server := uint64(lock.TokenAt(3, 0))
	logs := []*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration}}
	for index := uint64(2); index <= last; index++ {
		ask := &fsm.Request{Incarnation: server, Number: index, Settled: index - 1, Hash: index, Registration: 0x0101010101010101}
		var command *fsm.Command
		switch {
		case index == 2:
			command = fsm.NewCommand(nil, &fsm.FoundCluster{
				Cluster: storyCluster, Level: fsm.Level, Policies: fsm.DefaultPolicies(), Classes: fsm.DefaultClasses(),
			})
		case index == 3:
			command = fsm.NewCommand(nil, &fsm.Register{Name: "a", Nonce: bytes.Repeat([]byte{1}, 16)})
		case index%2 == 0:
			command = fsm.NewCommand(ask, &fsm.StartSession{Store: "players", Key: storyKey(index)})
		default:
			data := storyData(index - 1)
			hash := sha256.Sum256(data)
			command = fsm.NewCommand(ask, &fsm.Save{
				Store: "players", Key: storyKey(index - 1), Token: uint64(lock.TokenAt(index-1, 0)), End: true,
				Data: &fsm.Data{Codec: 1, Hash: hash[:], Size: uint64(len(data)), Whole: data},
			})
		}
		data, err := fsm.Encode(fsm.Level, storyCluster, int64(index)*1000, []*fsm.Command{command})
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data})
	}
	return logs
}

func storyKey(index uint64) string { return fmt.Sprintf("p%d", index) }

func storyData(index uint64) []byte {
	data := make([]byte, 2000)
	source := rand.NewChaCha8([32]byte{byte(index), byte(index >> 8)})
	_, _ = source.Read(data)
	return data
}

// stopped collects the faults that would stop a node.
type stopped struct {
	mu  sync.Mutex
	why []error
}

func (s *stopped) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = append(s.why, err)
}

func (s *stopped) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.why)
}

// nodeDisk holds the open tables and snapshots of one node.
type nodeDisk struct {
	*Replica
	stopped *stopped
	events  int // number of events of the applied entries
}

func openDisk(t testing.TB, fs vfs.FS, dir string) *nodeDisk {
	t.Helper()
	d, err := tryOpenDisk(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tryOpenDisk(fs vfs.FS, dir string) (*nodeDisk, error) {
	d := &nodeDisk{stopped: &stopped{}}
	tables, err := Open(fs, filepath.Join(dir, "tables"), fsm.Build{}, slog.New(slog.DiscardHandler), d.stopped.stop)
	if err != nil {
		return nil, err
	}
	snapshots, err := snapshot.Open(fs, filepath.Join(dir, "snapshots"), 2, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	d.Replica = NewReplica(tables, snapshots, func(events []fsm.Event) { d.events += len(events) }, d.stopped.stop)
	return d, nil
}

// play applies the entries from first to last, and fails the test if one fails.
func (d *nodeDisk) play(t testing.TB, logs []*raft.Log, first, last uint64) {
	t.Helper()
	for i, response := range d.ApplyBatch(logs[first-1 : last]) {
		log := logs[first-1:][i]
		switch got := response.(type) {
		case nil:
			if log.Type == raft.LogCommand {
				t.Fatalf("entry %d got no answer", log.Index)
			}
		case AppliedResults:
			if got.Index != log.Index || got.Term != log.Term {
				t.Fatalf("entry %d was answered as entry %d of term %d", log.Index, got.Index, got.Term)
			}
			if !got.Skipped && (len(got.Results) != 1 || got.Results[0].Code != fsm.OK) {
				t.Fatalf("entry %d: results %+v", log.Index, got.Results)
			}
		default:
			t.Fatalf("entry %d: %v", log.Index, got)
		}
	}
}

func (d *nodeDisk) shut(t testing.TB) {
	t.Helper()
	if err := d.tables.Close(); err != nil {
		t.Fatal(err)
	}
}

// holds reports whether a view holds the profile for which storyLog starts a session at index, with the saved data.
func holds(t testing.TB, v *View, index uint64) bool {
	t.Helper()
	data, ok, err := v.Data("players", storyKey(index), 1)
	if err != nil {
		t.Fatal(err)
	}
	return ok && bytes.Equal(data, storyData(index))
}

func list(t testing.TB, fs vfs.FS, path string) []string {
	t.Helper()
	names, err := fs.List(path)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTablesOutliveARestart(t *testing.T) {
	fs, logs := vfs.NewMem(), storyLog(t, 9)
	d := openDisk(t, fs, "node")
	d.play(t, logs, 1, 9)
	want := d.tables.Position()
	d.shut(t)

	if _, err := d.tables.OpenView(); !errors.Is(err, ErrClosed) {
		t.Errorf("view of closed tables: %v, want ErrClosed", err)
	}
	d = openDisk(t, fs, "node")
	defer d.shut(t)
	if got := d.tables.Position(); got.Index != 9 || got.Digest != want.Digest {
		t.Errorf("after a restart the tables are at %+v, want %+v", got, want)
	}
}

func TestTablesRefuseACurrentThatNamesNothing(t *testing.T) {
	for _, content := range []string{"", "../elsewhere\n", "000009\n"} {
		fs := vfs.NewMem()
		openDisk(t, fs, "node").shut(t)
		if err := disk.WriteFile(fs, "node/tables/CURRENT", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if d, err := tryOpenDisk(fs, "node"); err == nil {
			t.Errorf("tables opened where CURRENT holds %q", content)
			d.shut(t)
		}
	}
}

func TestTablesDeleteWhatCurrentDoesNotName(t *testing.T) {
	fs := vfs.NewMem()
	openDisk(t, fs, "node").shut(t)
	for _, left := range []string{"000007", "CURRENT.tmp", "kept"} {
		if err := fs.MkdirAll("node/tables/"+left, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	openDisk(t, fs, "node").shut(t)
	got := strings.Join(sorted(list(t, fs, "node/tables")), " ")
	if want := "000001 CURRENT kept"; got != want {
		t.Errorf("left on disk: %s, want %s", got, want)
	}
}

func TestWaitApplied(t *testing.T) {
	logs := storyLog(t, 9)
	d := openDisk(t, vfs.NewMem(), "node")
	d.play(t, logs, 1, 5)
	if err := d.tables.WaitApplied(t.Context(), 5); err != nil {
		t.Errorf("wait for an applied entry: %v", err)
	}
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.tables.WaitApplied(given, 6); !errors.Is(err, context.Canceled) {
		t.Errorf("wait with an ended context: %v", err)
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- d.tables.WaitApplied(t.Context(), 9) }()
	}
	for last := uint64(6); last <= 9; last++ {
		d.play(t, logs, last, last)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("wait for entry 9: %v", err)
		}
	}
	go func() { done <- d.tables.WaitApplied(t.Context(), 10) }()
	d.shut(t)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("wait until the tables are closed: %v, want ErrClosed", err)
	}
}

// An install does not wait for open views, and does not change them. The old tables are deleted with their last view.
func TestInstallUnderOpenViews(t *testing.T) {
	logs := storyLog(t, 15)
	ahead := openDisk(t, vfs.NewMem(), "node")
	defer ahead.shut(t)
	ahead.play(t, logs, 1, 15)
	label, stream := takeSnapshot(t, ahead, 15)

	fs := vfs.NewMem()
	d := openDisk(t, fs, "node")
	d.play(t, logs, 1, 7)
	var before [2]*View
	for i := range before {
		view, err := d.tables.OpenView()
		if err != nil {
			t.Fatal(err)
		}
		before[i] = view
	}
	receive(t, d, label, stream)
	restoreNewest(t, d)

	if got, want := d.tables.Position().Digest, ahead.tables.Position().Digest; got != want {
		t.Errorf("digest after the install is %x, want %x", got, want)
	}
	after, err := d.tables.OpenView()
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range before {
		if got := len(list(t, fs, "node/tables")); got != 3 {
			t.Errorf("%d entries in the folder of tables while an old view is open, want CURRENT and two folders", got)
		}
		if !holds(t, view, 6) || holds(t, view, 14) || view.Position().Index != 7 {
			t.Error("the old view has changed")
		}
		if err := errors.Join(view.Close(), view.Close()); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(sorted(list(t, fs, "node/tables")), " "); got != "000002 CURRENT" {
		t.Errorf("after the old views were closed there is %s", got)
	}
	if !holds(t, after, 14) {
		t.Error("a new view does not see the installed tables")
	}
	closed := make(chan error, 1)
	go func() { closed <- d.tables.Close() }()
	<-d.tables.closing
	select {
	case <-closed:
		t.Error("the tables were closed under an open view")
	default:
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// crashes is a file system that, while watching is set, makes a copy before each of its writes, as a crash at that moment
// would leave it.
type crashes struct {
	vfs.FS
	mu       sync.Mutex
	watching bool
	left     []*vfs.MemFS // the copies
}

func newCrashes(t testing.TB, unsyncedPercent int) *crashes {
	t.Helper()
	mem := vfs.NewCrashableMem()
	// The data folder itself is made by another package, before the tables are opened.
	if err := errors.Join(mem.MkdirAll("node", 0o700), disk.SyncFolder(mem, "/")); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	c := &crashes{}
	c.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.watching && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			c.left = append(c.left, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: random}))
		}
		return nil
	}))
	return c
}

func (c *crashes) watch(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching = on
}

// After a crash at any moment of an install, the next start finds either the old or the new tables, and no other folder.
func TestCrashDuringInstall(t *testing.T) {
	logs := storyLog(t, 31)
	ahead := openDisk(t, vfs.NewMem(), "node")
	defer ahead.shut(t)
	ahead.play(t, logs, 1, 21)
	if err := ahead.tables.Flush(); err != nil {
		t.Fatal(err)
	}
	ahead.play(t, logs, 22, 31)
	label, stream := takeSnapshot(t, ahead, 31)
	want := ahead.tables.Position()

	for _, unsynced := range []int{0, 50} {
		fs := newCrashes(t, unsynced)
		d := openDisk(t, fs, "node")
		d.play(t, logs, 1, 9)
		if err := d.tables.Flush(); err != nil {
			t.Fatal(err)
		}
		fs.watch(true)
		receive(t, d, label, stream)
		restoreNewest(t, d)
		fs.watch(false)
		d.shut(t)

		seen := map[uint64]int{}
		for i, crashed := range fs.left {
			d, err := tryOpenDisk(crashed, "node")
			if err != nil {
				t.Fatalf("crash %d of %d: %v", i, len(fs.left), err)
			}
			at := d.tables.Position()
			seen[at.Index]++
			if at.Index != 9 && at.Index != 31 {
				t.Errorf("crash %d: the tables are at %d", i, at.Index)
			}
			if labels, _ := d.snapshots.List(); len(labels) > 0 {
				restoreNewest(t, d)
				at = d.tables.Position()
				if at.Index != 31 {
					t.Errorf("crash %d: the tables are at %d after a restore of a listed snapshot", i, at.Index)
				}
			} else if at.Index == 31 {
				t.Errorf("crash %d: the tables are ahead of a log at 9 and of every snapshot", i)
			}
			d.play(t, logs, at.Index+1, 31)
			if got := d.tables.Position().Digest; got != want.Digest {
				t.Errorf("crash %d: digest %x, want %x", i, got, want.Digest)
			}
			if got := len(list(t, crashed, "node/tables")); got != 2 {
				t.Errorf("crash %d: %d entries in the folder of tables, want CURRENT and one folder", i, got)
			}
			d.shut(t)
		}
		if seen[9] == 0 || seen[31] == 0 {
			t.Errorf("with %d%% of unsynced data kept, the starts found %v: want both the old and the new tables", unsynced, seen)
		}
	}
}

// A node in memory has no folder, so its paths are relative.
func TestTablesWithoutAFolder(t *testing.T) {
	logs := storyLog(t, 9)
	d := openDisk(t, vfs.NewMem(), "")
	defer d.shut(t)
	d.play(t, logs, 1, 9)
	keep(t, d, 9)
}

// After a fatal fault of Pebble all waits for it end, and the process goes on.
func TestFatalFaultStopsTheNodeOnly(t *testing.T) {
	logs := storyLog(t, 9)
	d := openDisk(t, vfs.NewMem(), "node")
	d.play(t, logs, 1, 7)
	waiting := make(chan error, 1)
	go func() { waiting <- d.tables.WaitApplied(context.Background(), 100) }()
	returned := make(chan struct{}, 2)
	for range 2 {
		go func() {
			d.tables.watch.Logger().Fatalf("disk is %s", "gone")
			returned <- struct{}{}
		}()
	}
	<-d.tables.watch.Failed()
	if err := <-waiting; !errors.Is(err, disk.ErrFailed) || !strings.Contains(err.Error(), "disk is gone") {
		t.Errorf("a waiter got %v", err)
	}
	if err, ok := d.Apply(logs[7]).(error); !ok || !errors.Is(err, disk.ErrFailed) {
		t.Errorf("an apply got %v", err)
	}
	if _, err := d.tables.OpenView(); !errors.Is(err, disk.ErrFailed) {
		t.Errorf("a view got %v", err)
	}
	if err := d.tables.Close(); !errors.Is(err, disk.ErrFailed) {
		t.Errorf("close got %v", err)
	}
	select {
	case <-returned:
		t.Error("Fatalf returned to Pebble")
	default:
	}
	if got := d.stopped.count(); got != 2 {
		t.Errorf("the node was stopped %d times, want once for the fault and once for the apply", got)
	}
}
