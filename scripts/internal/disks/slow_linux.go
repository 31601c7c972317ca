package disks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// throttleFolder is the root group of block devices' control groups, version 1. Its bounds are for each device, and hold for all
// processes and for the kernel's own writes to it.
const throttleFolder = "/sys/fs/cgroup/blkio"

// ProbeSlow says why disks cannot be slowed down here; nil: they can.
func ProbeSlow() error {
	if _, err := os.Stat(filepath.Join(throttleFolder, "blkio.throttle.write_iops_device")); err != nil {
		return fmt.Errorf("no control group of version 1 that throttles block devices: %w", err)
	}
	return tryDisk(func(d *Disk) error {
		if err := d.Slow(20, 0); err != nil {
			return err
		}
		const syncs = 10
		began := time.Now()
		for range syncs {
			if err := syncFile(filepath.Join(d.at, "probe")); err != nil {
				return err
			}
		}
		if took := time.Since(began); took < syncs*time.Second/20 {
			return fmt.Errorf("%d syncs to a disk with 20 writes a second took %v: the bound has no effect", syncs, took)
		}
		return nil
	})
}

// syncFile appends to a file and syncs it.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString("x")
	return errors.Join(err, file.Sync(), file.Close())
}

// Slow bounds the writes a second to the disk, and the bytes written a second; 0: no bound. It replaces earlier bounds.
func (d *Disk) Slow(writes, bytes int) error {
	device, err := deviceNumber(d.at)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slowed = device
	return throttle(device, writes, bytes)
}

// deviceNumber is the number of the device that is mounted at a folder, as control groups want it.
func deviceNumber(at string) (string, error) {
	var stat syscall.Stat_t
	if err := syscall.Stat(at, &stat); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev)), nil
}

// throttle sets the bounds of a device. Zero takes a bound away.
func throttle(device string, writes, bytes int) error {
	var errs []error
	for name, bound := range map[string]int{"write_iops": writes, "write_bps": bytes} {
		file := filepath.Join(throttleFolder, "blkio.throttle."+name+"_device")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s %d", device, bound), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("throttle device %s: %w", device, err))
		}
	}
	return errors.Join(errs...)
}

// Fast takes the bounds away. On a disk that was not slowed it does nothing.
func (d *Disk) Fast() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slowed == "" {
		return nil
	}
	err := throttle(d.slowed, 0, 0)
	d.slowed = ""
	return err
}
