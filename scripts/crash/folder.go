//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// takeFolder locks the folder for this run, and removes the leftovers of an earlier run: mounts, and data. Its nodes end with
// it, however it ends.
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
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil // no Linux: nothing was mounted
	}
	lines := slices.Collect(strings.Lines(string(mounts)))
	slices.Reverse(lines) // an inner mount goes first
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], home+"/") {
			thawLeftover(fields[1])
			if err := unmountFolder(fields[1]); err != nil {
				return err
			}
		}
	}
	return nil
}
