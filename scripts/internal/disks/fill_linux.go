package disks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ballastPath lies beside the data folder and takes space without being written.
func (d *Disk) ballastPath() string { return filepath.Join(d.at, "ballast") }

// Fill takes the free space of the disk but for some bytes, all of it at once, or in ever smaller pieces where a process was faster
// or the free space is scattered. Another call takes the space that was freed since.
func (d *Disk) Fill(leave uint64) error {
	file, err := os.OpenFile(d.ballastPath(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	const block = 4 << 10
	for piece := uint64(1 << 62); piece >= block; {
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

// Free frees the space that Fill took.
func (d *Disk) Free() error {
	if err := os.Remove(d.ballastPath()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *Disk) inodesPath() string { return filepath.Join(d.at, "inodes") }

// FillInodes makes empty files until the disk can hold so many more and no others. Another call takes those that were freed since.
func (d *Disk) FillInodes(leave uint64) error {
	if err := os.MkdirAll(d.inodesPath(), 0o700); err != nil {
		return err
	}
	for number := 0; ; number++ {
		var disk syscall.Statfs_t
		if err := syscall.Statfs(d.at, &disk); err != nil {
			return err
		}
		if disk.Ffree <= leave {
			return nil
		}
		file, err := os.OpenFile(filepath.Join(d.inodesPath(), strconv.Itoa(number)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		switch {
		case err == nil:
			if err := file.Close(); err != nil {
				return err
			}
		case errors.Is(err, os.ErrExist): // of an earlier call
		case errors.Is(err, syscall.ENOSPC):
			return nil
		default:
			return fmt.Errorf("take the inodes of %s: %w", d.at, err)
		}
	}
}

// FreeInodes removes the files that FillInodes made.
func (d *Disk) FreeInodes() error { return os.RemoveAll(d.inodesPath()) }
