package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

const (
	shutdownDisk = 0x8004587D // EXT4_IOC_SHUTDOWN
	withoutFlush = uint32(2)  // the journal is not flushed
	diskBytes    = 6 << 30    // of a sparse file; more than a node's reserve
)

// loopDisk is an ext4 file system of its own in a file, whose power can be cut.
type loopDisk struct{ image, at string }

func canCutPower() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	for _, program := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("no loop devices: %w", err)
	}
	// Their presence does not say that they may be used.
	return tryDisk((*loopDisk).cutPower)
}

// tryDisk carries out an act on a disk that is made for it.
func tryDisk(act func(*loopDisk) error) error {
	home, err := os.MkdirTemp("", "profilenode-crash-disk")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }()
	d, err := newLoopDisk(filepath.Join(home, "image"), filepath.Join(home, "disk"))
	if err != nil {
		return err
	}
	return errors.Join(act(d), unmountFolder(d.at))
}

func newLoopDisk(image, at string) (*loopDisk, error) {
	d := &loopDisk{image, at}
	file, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Truncate(diskBytes), file.Close()); err != nil {
		return nil, err
	}
	// No blocks are reserved for root: the nodes run as root, and would find them free on a full disk.
	if err := runCommand("mkfs.ext4", "-q", "-F", "-m", "0", image); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	return d, d.mountImage()
}

// mountImage mounts with a long commit interval, so that bytes reach the disk by a sync alone.
func (d *loopDisk) mountImage() error {
	return runCommand("mount", "-o", "loop,commit=300", d.image, d.at)
}

// cutPower loses all bytes that were not synced. The processes that write there must be paused.
func (d *loopDisk) cutPower() error {
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

func (d *loopDisk) remountImage() error {
	if err := unmountFolder(d.at); err != nil {
		return err
	}
	return d.mountImage()
}

// ballastPath lies beside the data folder and takes space without being written.
func (d *loopDisk) ballastPath() string { return filepath.Join(d.at, "ballast") }

// fillDisk takes the free space of the disk but for some bytes, all of it at once, or in ever smaller pieces where a process
// was faster or the free space is scattered. Another call takes the space that was freed since.
func (d *loopDisk) fillDisk(leave uint64) error {
	file, err := os.OpenFile(d.ballastPath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	const block = 4 << 10
	for piece := uint64(diskBytes); piece >= block; {
		var disk syscall.Statfs_t
		if err := syscall.Fstatfs(int(file.Fd()), &disk); err != nil {
			return err
		}
		free := disk.Bavail * uint64(disk.Bsize)
		if free < leave+block {
			return nil
		}
		info, err := file.Stat()
		if err != nil {
			return err
		}
		piece = min(piece, free-leave)
		switch err := syscall.Fallocate(int(file.Fd()), 0, info.Size(), int64(piece)); {
		case err == nil, errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ENOSPC):
			piece /= 2
		default:
			return fmt.Errorf("fill %s: %w", d.at, err)
		}
	}
	return nil
}

// freeSpace frees the space that fillDisk took.
func (d *loopDisk) freeSpace() error {
	if err := os.Remove(d.ballastPath()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func unmountFolder(at string) error {
	var err error
	for range 100 {
		if err = runCommand("umount", at); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // a process that was killed lets go of its files a moment later
	}
	return err
}
