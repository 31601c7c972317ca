package main

import (
	"os"
	"path/filepath"
)

const partBytes = "256m" // for a log of its own: some times what the trial lets stay

func (n *node) logFolder() string { return filepath.Join(n.data, "log") }

// partLog gives the log of a node that is down a file system of its own, in memory.
func (n *node) partLog() error {
	at := n.logFolder()
	return inTurn(
		func() error { return os.Rename(at, at+".aside") },
		func() error { return os.Mkdir(at, 0o700) },
		func() error { return command("mount", "-t", "tmpfs", "-o", "mode=0700,size="+partBytes, "tmpfs", at) },
		func() error { n.logDisk = &disk{at: at}; return nil },
		func() error { return command("cp", "-a", at+".aside/.", at) },
		func() error { return os.RemoveAll(at + ".aside") },
	)
}

// joinLog puts it back to the rest, where it outlives a loss of power.
func (n *node) joinLog() error {
	at := n.logFolder()
	return inTurn(
		func() error { return command("cp", "-a", at, at+".aside") },
		func() error { return unmount(at) },
		func() error { n.logDisk = nil; return nil },
		func() error { return os.Remove(at) },
		func() error { return os.Rename(at+".aside", at) },
		func() error { return command("sync", "-f", n.data) },
	)
}
