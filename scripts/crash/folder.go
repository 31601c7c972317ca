//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// takeFolder locks the folder for this run, and removes the leftovers of an earlier run: processes, by the ids that it wrote
// down, mounts, and data.
func takeFolder(home string) (unlock func(), err error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(home, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another run has %s: %w", home, err)
	}
	if err = unmountLeftovers(home); err == nil { // first, since a mounted disk must not be deleted
		err = clearAway(home)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

func clearAway(home string) error {
	left, err := filepath.Glob(filepath.Join(home, "node*"))
	left = append(left, filepath.Join(home, "addresses")) // each run chooses its own
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

func unmountLeftovers(home string) error {
	ids, err := filepath.Glob(filepath.Join(home, "node*.pid"))
	if err != nil {
		return err
	}
	for _, file := range ids {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		// Another process may have the id by now: only one with this folder on its command line is a leftover.
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(line), home) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return fmt.Errorf("end process %d: %w", pid, err)
			}
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil // no Linux: nothing was mounted
	}
	lines := slices.Collect(strings.Lines(string(mounts)))
	slices.Reverse(lines) // an inner mount goes first
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], home+"/") {
			if err := unmountFolder(fields[1]); err != nil {
				return err
			}
		}
	}
	return nil
}
