//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/profilenode/profilenode/scripts/internal/disks"
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
	if err = disks.UnmountLeftovers(home); err == nil { // first, since a mounted disk must not be deleted
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
