package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotPeriod is how often keepSnapshots compares the bytes written to the log with Config.SnapshotBytes.
const snapshotPeriod = time.Second

// Snapshot takes a snapshot now, so that the log before it can be cut. It returns nil if nothing was applied since the last
// one.
func (n *Node) Snapshot() error {
	r := n.raftIfRunning()
	if r == nil {
		return errors.New("take snapshot: this node is in no cluster yet")
	}
	began := time.Now()
	err := n.replica.FlushTables()
	if err == nil {
		err = n.lifecycle.waitForFuture(n.lifecycle.running, r.Snapshot())
	}
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	n.config.Metrics.RecordSnapshot(false, time.Since(began), err)
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

// keepSnapshots takes a snapshot whenever SnapshotBytes were written to the log. Raft's own threshold counts entries, and
// entries differ in size by a factor of ten thousand.
func (n *Node) keepSnapshots() {
	var taken uint64
	tick := time.NewTicker(snapshotPeriod)
	defer tick.Stop()
	for {
		select {
		case <-n.lifecycle.running.Done():
			return
		case <-tick.C:
		}
		if n.raftIfRunning() == nil {
			continue
		}
		written := n.storage.Log.WrittenBytes.Load()
		if written-taken < n.config.SnapshotBytes {
			continue
		}
		if err := n.Snapshot(); err != nil {
			if n.lifecycle.running.Err() == nil {
				n.log.Warn("take snapshot failed, and is tried again", "error", err)
			}
			continue
		}
		taken = written
	}
}
