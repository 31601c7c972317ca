package faultfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openTestFS(t *testing.T) *FS {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skipf("not on this machine: %v", err)
	}
	f, err := Open(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

func writeSynced(path, text string) error {
	return errors.Join(os.WriteFile(path, []byte(text), 0o600), syncPath(path))
}

// list returns names and contents below the mount.
func (f *FS) list(t *testing.T) string {
	t.Helper()
	var all []string
	mustDo(t, filepath.WalkDir(f.Path(), func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(f.Path(), path)
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			all = append(all, name+"/")
			return nil
		}
		text, err := os.ReadFile(path)
		all = append(all, name+"="+string(text))
		return err
	}))
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestPowerLossTakesNamesThatWereNotSynced(t *testing.T) {
	f := openTestFS(t)
	at := func(name string) string { return filepath.Join(f.Path(), name) }
	mustDo(t,
		os.Mkdir(at("d"), 0o700), writeSynced(at("d/old"), "old"), writeSynced(at("d/gone"), "gone"), writeSynced(at("d/target"), "before"),
		syncPath(at("d")), syncPath(f.Path()))
	before := f.list(t)
	mustDo(t,
		writeSynced(at("d/new"), "new"), os.Remove(at("d/gone")), os.Rename(at("d/old"), at("d/target")),
		os.Mkdir(at("e"), 0o700), writeSynced(at("e/inside"), "x"), syncPath(at("e")), os.Link(at("d/new"), at("link")),
		os.Rename(at("d"), at("moved")), os.Remove(at("e/inside")), os.Remove(at("e")))
	if got := f.list(t); got != "link=new moved/ moved/new=new moved/target=old" {
		t.Fatalf("it shows %s", got)
	}
	f.CutPower()
	if err := os.WriteFile(at("late"), nil, 0o600); !errors.Is(err, syscall.EIO) {
		t.Errorf("without power: %v", err)
	}
	mustDo(t, f.Restore(Loss{}))
	if got := f.list(t); got != before {
		t.Errorf("left is\n%s, want\n%s", got, before)
	}
	mustDo(t, os.Remove(at("d/gone")), os.Rename(at("d/old"), at("d/target")), syncPath(at("d")))
	f.CutPower()
	mustDo(t, f.Restore(Loss{}))
	if got := f.list(t); got != "d/ d/target=old" {
		t.Errorf("after a sync of the folder left is %s", got)
	}
	if left, err := os.ReadDir(f.names.graveyard); len(left) > 0 || err != nil {
		t.Errorf("%d removed files are kept, %v", len(left), err)
	}
	if e := f.Effects(); e.LostNames == 0 || e.SyncDirs == 0 || e.Syncs == 0 {
		t.Errorf("%+v", e)
	}
}

func TestPowerLossTakesBytesThatWereNotSynced(t *testing.T) {
	f := openTestFS(t)
	path := filepath.Join(f.Path(), "file")
	mustDo(t, writeSynced(path, "kept"), syncPath(f.Path()), os.WriteFile(path, []byte("lost and longer"), 0o600))
	f.CutPower()
	mustDo(t, f.Restore(Loss{}))
	if got := f.list(t); got != "file=kept" {
		t.Errorf("left is %s", got)
	}
	large := strings.Repeat("x", 64<<10)
	lose := func(seed uint64) string {
		mustDo(t, writeSynced(path, ""), os.WriteFile(path, []byte(large), 0o600))
		f.CutPower()
		mustDo(t, f.Restore(Loss{Keep: 0.5, Piece: 512, Seed: seed}))
		return f.list(t)
	}
	first := lose(1)
	if first != lose(1) {
		t.Error("one seed, two losses")
	}
	if first == lose(2) || !strings.Contains(first, "\x00") || !strings.Contains(first, "x") {
		t.Error("the loss is not torn by chance")
	}
	if e := f.Effects(); e.KeptPieces == 0 || e.LostPieces == 0 || e.LostBytes == 0 {
		t.Errorf("%+v", e)
	}
}

func TestRules(t *testing.T) {
	f := openTestFS(t)
	path := filepath.Join(f.Path(), "file")
	file, err := os.Create(path)
	mustDo(t, err)
	defer file.Close()
	write := func() error {
		_, err := file.WriteString("x")
		return err
	}
	mustDo(t, syncPath(f.Path()))

	f.Set(Rule{Op: Sync, Path: "file", After: 1, Count: 1, Errno: syscall.EIO}, Rule{Op: Write, After: 2, Errno: syscall.ENOSPC})
	mustDo(t, write(), file.Sync(), write())
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the second sync: %v", err)
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the third write: %v", err)
	}
	mustDo(t, file.Sync())

	f.Set(Rule{Op: SyncDir, Errno: syscall.EIO}, Rule{Op: Change, Path: "full", Errno: syscall.ENOSPC})
	if err := syncPath(f.Path()); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sync of the folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(f.Path(), "full"), nil, 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a new file: %v", err)
	}

	f.Set(Rule{Op: Sync, Delay: 100 * time.Millisecond})
	began := time.Now()
	mustDo(t, file.Sync())
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("a delayed sync took %v", took)
	}

	f.Set(Rule{Op: Sync, Hang: true})
	synced := make(chan error)
	go func() { synced <- file.Sync() }()
	select {
	case err := <-synced:
		t.Errorf("a sync that hangs returned: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	f.Set(Rule{Op: Sync, Lie: true})
	mustDo(t, <-synced, write(), file.Sync(), file.Close())
	f.CutPower()
	mustDo(t, f.Restore(Loss{}))
	if got := f.list(t); got != "file=x" { // the first byte; the second was lost by a sync that failed, the third by a lie
		t.Errorf("left is %q", got)
	}
	if e := f.Effects(); e.Failed != 4 || e.Delayed != 1 || e.Hung != 1 || e.Lied != 1 {
		t.Errorf("%+v", e)
	}
}

// bbolt reads its file through a shared mapping and writes by calls. A process of its own does that here, as a node is one.
func TestMappedFileSeesWrites(t *testing.T) {
	f := openTestFS(t)
	mapping := exec.Command(os.Args[0])
	mapping.Env = append(os.Environ(), mappedVariable+"="+filepath.Join(f.Path(), "file"))
	if out, err := mapping.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// writeMapped writes to a file, and returns an error unless a mapping of it shows that.
func writeMapped(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(8192); err != nil {
		return err
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, 8192, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(mapped) }()
	for _, text := range []string{"one", "two"} {
		if _, err := file.WriteAt([]byte(text), 4096); err != nil {
			return err
		}
		if got := string(mapped[4096:4099]); got != text {
			return fmt.Errorf("the mapping shows %q, want %q", got, text)
		}
	}
	return nil
}
