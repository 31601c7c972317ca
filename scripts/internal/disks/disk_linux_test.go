package disks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func openTestDisk(t *testing.T, probe func() error) *Disk {
	t.Helper()
	if err := probe(); err != nil {
		t.Skipf("not on this machine: %v", err)
	}
	d, err := Open(filepath.Join(t.TempDir(), "disk"), probeBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestCutPowerLosesWhatWasNotSynced(t *testing.T) {
	d := openTestDisk(t, Probe)
	kept, lost := filepath.Join(d.Path(), "kept"), filepath.Join(d.Path(), "lost")
	mustDo(t, syncFile(kept), d.Sync(), os.WriteFile(lost, []byte("x"), 0o600))
	mustDo(t, d.CutPower())
	if err := os.WriteFile(filepath.Join(d.Path(), "late"), nil, 0o600); err == nil {
		t.Error("a disk without power takes a file")
	}
	mustDo(t, d.Restore())
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what was synced: %v", err)
	}
	if _, err := os.Stat(lost); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was not synced is there: %v", err)
	}
	mustDo(t, syncFile(kept))
}

func TestFreezeHoldsWritesUntilThaw(t *testing.T) {
	d := openTestDisk(t, ProbeFreeze)
	file := filepath.Join(d.Path(), "file")
	mustDo(t, syncFile(file), d.Freeze())
	defer func() { _ = d.Thaw() }()
	if err := d.Freeze(); err == nil {
		t.Error("frozen twice")
	}
	wrote := make(chan error, 1)
	go func() { wrote <- syncFile(file) }()
	select {
	case err := <-wrote:
		t.Errorf("a write to a frozen disk returned: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	mustDo(t, d.Thaw(), <-wrote, d.Thaw())
}

func TestFillAndFree(t *testing.T) {
	d := openTestDisk(t, Probe)
	mustDo(t, d.Fill(0))
	file := filepath.Join(d.Path(), "file")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk answers: %v", err)
	}
	mustDo(t, d.Free(), os.WriteFile(file, make([]byte, 1<<20), 0o600), d.Free())

	mustDo(t, d.FillInodes(2))
	for i := range 3 {
		err := os.WriteFile(filepath.Join(d.Path(), strconv.Itoa(i)), nil, 0o600)
		if want := i == 2; errors.Is(err, syscall.ENOSPC) != want {
			t.Errorf("file %d on a disk with two inodes: %v", i, err)
		}
	}
	mustDo(t, d.FreeInodes(), os.WriteFile(filepath.Join(d.Path(), "more"), nil, 0o600), d.FreeInodes())
}

func TestReadOnlyUntilRestore(t *testing.T) {
	d := openTestDisk(t, ProbeReadOnly)
	path := filepath.Join(d.Path(), "file")
	file, err := os.Create(path)
	mustDo(t, err)
	defer file.Close()
	_, err = file.WriteString("before")
	mustDo(t, err, file.Sync(), d.ReadOnly())
	if _, err = file.WriteString("x"); err == nil {
		err = file.Sync()
	}
	if !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.EIO) {
		t.Errorf("a file that was open answers: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text[:6]) != "before" {
		t.Errorf("it reads %q, %v", text, err)
	}
	mustDo(t, file.Close(), d.Restore(), syncFile(path))
}

func TestSlowAndFast(t *testing.T) {
	d := openTestDisk(t, ProbeSlow)
	syncs := func() time.Duration {
		began := time.Now()
		for i := range 5 {
			mustDo(t, syncFile(filepath.Join(d.Path(), fmt.Sprint(i))))
		}
		return time.Since(began)
	}
	mustDo(t, d.Slow(10, 0))
	if took := syncs(); took < 400*time.Millisecond {
		t.Errorf("5 syncs at 10 writes a second took %v", took)
	}
	mustDo(t, d.Fast(), d.Fast())
	text, err := os.ReadFile(filepath.Join(throttleFolder, "blkio.throttle.write_iops_device"))
	if device, _ := deviceNumber(d.Path()); err != nil || len(text) > 0 && string(text[:len(device)]) == device {
		t.Errorf("after Fast the bounds are %q, %v", text, err)
	}
}

func TestLeftoversAreUnmounted(t *testing.T) {
	d := openTestDisk(t, ProbeFreeze)
	mustDo(t, d.Freeze(), UnmountLeftovers(filepath.Dir(d.Path())))
	if _, err := d.deviceName(); err == nil {
		t.Error("it is mounted")
	}
	mustDo(t, d.mountImage())
	_ = d.Thaw() // the child finds nothing to thaw
}

func TestDiskInMemory(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	d, err := OpenInMemory(t.TempDir(), 1<<20)
	mustDo(t, err, d.Fill(0))
	if err := os.WriteFile(filepath.Join(d.Path(), "file"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk answers: %v", err)
	}
	mustDo(t, d.Close())
}
