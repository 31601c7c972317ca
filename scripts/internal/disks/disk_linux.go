// Package disks gives each node a file system of its own whose disk fails as real ones do: its power is cut, it hangs, is full, has no
// more inodes, is slow, or may be read alone. It takes root, ext4 and loop devices.
package disks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

const (
	shutdownDisk = 0x8004587D // EXT4_IOC_SHUTDOWN
	withoutFlush = uint32(2)  // the journal is not flushed
	inodes       = "16384"    // of each disk: enough for a node, and soon filled
	probeBytes   = 64 << 20
)

// Disk is a file system of its own. Its methods are safe for concurrent use, but for Restore and Close beside others.
type Disk struct {
	image string // file that holds it; "": it is in memory
	at    string

	mu     sync.Mutex
	frozen *nodeproc.Guard // nil: it answers
	slowed string          // the device that is throttled; "": none
}

// Probe says why disks cannot be made here, and their power not be cut; nil: it can. It tries that.
func Probe() error {
	if err := checkPrograms("mkfs.ext4", "mount", "umount"); err != nil {
		return err
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("no loop devices: %w", err)
	}
	return tryDisk((*Disk).CutPower)
}

func checkPrograms(names ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("disks take root")
	}
	for _, program := range names {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	return nil
}

// tryDisk carries out an act on a disk that is made for it.
func tryDisk(act func(*Disk) error) error {
	home, err := os.MkdirTemp("", "profilenode-disk")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }()
	d, err := Open(filepath.Join(home, "disk"), probeBytes)
	if err != nil {
		return err
	}
	return errors.Join(act(d), d.Close())
}

// Open makes an ext4 file system in a sparse file, dir with ".ext4" behind it, and mounts it at dir, which is made. An older file is
// overwritten.
func Open(dir string, size int64) (*Disk, error) {
	d := &Disk{image: dir + ".ext4", at: dir}
	file, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		return nil, err
	}
	// No blocks are reserved for root: the nodes run as root, and would find them free on a full disk.
	if err := run("mkfs.ext4", "-q", "-F", "-m", "0", "-N", inodes, d.image); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return d, d.mountImage()
}

// OpenInMemory mounts a file system in memory at a folder that exists. It can be filled, and nothing else.
func OpenInMemory(dir string, size int64) (*Disk, error) {
	if err := run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("mode=0700,size=%d", size), "tmpfs", dir); err != nil {
		return nil, err
	}
	return &Disk{at: dir}, nil
}

// Path is the folder at which the disk is mounted.
func (d *Disk) Path() string { return d.at }

// mountImage mounts with a long commit interval, so that bytes reach the disk by a sync alone.
func (d *Disk) mountImage() error {
	return run("mount", "-o", "loop,commit=300,errors=remount-ro", d.image, d.at)
}

// CutPower loses all bytes that were not synced; every later access fails until Restore. The processes that write there must be
// paused or gone: a sync that is under way may be reported as done.
func (d *Disk) CutPower() error {
	folder, err := os.Open(d.at)
	if err != nil {
		return err
	}
	defer folder.Close()
	flag := withoutFlush
	if _, _, no := syscall.Syscall(syscall.SYS_IOCTL, folder.Fd(), shutdownDisk, uintptr(unsafe.Pointer(&flag))); no != 0 {
		return fmt.Errorf("cut the power of %s: %w", d.at, no)
	}
	return nil
}

// ReadOnly lets every write fail, by an error of the file system like those of a failing device, until Restore.
func (d *Disk) ReadOnly() error {
	device, err := d.deviceName()
	if err != nil {
		return err
	}
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("profilenode: read-only by request"), 0o200); err != nil {
		return fmt.Errorf("make %s read-only: %w", d.at, err)
	}
	return nil
}

// ProbeReadOnly says why disks cannot be made read-only here; nil: they can.
func ProbeReadOnly() error {
	return tryDisk(func(d *Disk) error {
		if err := d.ReadOnly(); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(d.at, "probe"), 0o700); !errors.Is(err, syscall.EROFS) {
			return fmt.Errorf("a disk that was made read-only answers a write with: %v", err)
		}
		return nil
	})
}

// deviceName is the loop device of the disk.
func (d *Disk) deviceName() (string, error) {
	mounts, err := readMounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if m.at == d.at {
			return m.source, nil
		}
	}
	return "", fmt.Errorf("%s is not mounted", d.at)
}

// Restore mounts the disk again, after CutPower or ReadOnly. No process may use it. It answers at its full speed then.
func (d *Disk) Restore() error {
	if err := errors.Join(d.Thaw(), d.Fast()); err != nil {
		return err
	}
	if err := unmount(d.at); err != nil {
		return err
	}
	return d.mountImage()
}

// Close unmounts the disk, thawed. Its file stays.
func (d *Disk) Close() error { return errors.Join(d.Thaw(), d.Fast(), unmount(d.at)) }

func unmount(at string) error {
	var err error
	for range 100 {
		if err = run("umount", at); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // a process that was killed lets go of its files a moment later
	}
	return err
}

// mounted is a line of the table of mounts.
type mounted struct{ source, at string }

func readMounts() (mounts []mounted, err error) {
	text, err := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 {
			mounts = append(mounts, mounted{fields[0], fields[1]})
		}
	}
	return mounts, err
}

// UnmountLeftovers unmounts all that an earlier run left mounted below a folder, and thaws it first.
func UnmountLeftovers(home string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	slices.Reverse(mounts) // an inner mount goes first
	for _, m := range mounts {
		if strings.HasPrefix(m.at, home+"/") {
			_ = exec.Command("fsfreeze", "--unfreeze", m.at).Run() // on one that is not frozen it fails, which is right
			if device, err := deviceNumber(m.at); err == nil && strings.HasPrefix(m.source, "/dev/loop") {
				_ = throttle(device, 0, 0) // where nothing can be throttled it fails, which is right
			}
			if err := unmount(m.at); err != nil {
				return err
			}
		}
	}
	return nil
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
