//go:build unix

package main

import (
	"os"
	"path/filepath"

	"github.com/profilenode/profilenode/scripts/internal/disks"
)

const partBytes = 256 << 20 // of a log's own disk: several times the log that stays behind a snapshot

func (n *nodeProcess) logFolder() string { return filepath.Join(n.Folder, "log") }

// mountLogDisk gives the log of a node that is down a file system of its own, in memory.
func (n *nodeProcess) mountLogDisk() error {
	at := n.logFolder()
	return runInTurn(
		func() error { return os.Rename(at, at+".aside") },
		func() error { return os.Mkdir(at, 0o700) },
		func() (err error) { n.logDisk, err = disks.OpenInMemory(at, partBytes); return err },
		func() error { return runCommand("cp", "-a", at+".aside/.", at) },
		func() error { return os.RemoveAll(at + ".aside") },
	)
}

// unmountLogDisk moves the log back to the node's disk, where it outlives a loss of power.
func (n *nodeProcess) unmountLogDisk() error {
	at := n.logFolder()
	return runInTurn(
		func() error { return runCommand("cp", "-a", at, at+".aside") },
		func() error { return n.logDisk.Close() },
		func() error { n.logDisk = nil; return nil },
		func() error { return os.Remove(at) },
		func() error { return os.Rename(at+".aside", at) },
		func() error { return n.disk.Sync() },
	)
}
