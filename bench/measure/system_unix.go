//go:build unix

package measure

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CheckSystem is an error on a system on which this program cannot measure.
func CheckSystem() error { return nil }

// LowerPriority makes this process yield the processor to others. It asks for its process group, which is this process: of
// the process alone Linux takes only the thread that asks.
func LowerPriority() error { return syscall.Setpriority(syscall.PRIO_PGRP, 0, 15) }

// IsGone says that no process has this id.
func IsGone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// readMonotonicClock is in nanoseconds.
func readMonotonicClock() int64 {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		panic(fmt.Sprintf("read the monotonic clock: %v", err)) // no kernel that Go runs on lacks it
	}
	return at.Nano()
}

// fileIdentity is the same for all links to one file.
type fileIdentity struct{ device, inode uint64 }

// readAllocation tells which file this is, and how many bytes its disk holds for it.
func readAllocation(info os.FileInfo) (identity fileIdentity, bytes uint64, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileIdentity{}, 0, false
	}
	return fileIdentity{uint64(stat.Dev), stat.Ino}, uint64(stat.Blocks) * 512, true //nolint:unconvert // Dev is an int32 on darwin
}
