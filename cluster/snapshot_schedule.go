package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotPeriod is how often keepSnapshots compares the bytes written to the log with Config.SnapshotBytes.
const snapshotPeriod = time.Second

// Snapshot takes one now, so that the log before it can be cut. That there is nothing new is no error.
func (n *Node) Snapshot() error {
	r := n.raftIfRunning()
	if r == nil {
		return errors.New("take snapshot: this node is in no cluster yet")
	}
	began := time.Now()
	err := n.replica.flushTables()
	if err == nil {
		err = n.waitForFuture(n.ctx, r.Snapshot())
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

// keepSnapshots takes one whenever SnapshotBytes were written to the log: counts say nothing of their size.
func (n *Node) keepSnapshots() {
	var taken uint64
	tick := time.NewTicker(snapshotPeriod)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		if n.raftIfRunning() == nil {
			continue
		}
		written := n.storage.log.writtenBytes.Load()
		if written-taken < n.config.SnapshotBytes {
			continue
		}
		if err := n.Snapshot(); err != nil {
			if n.ctx.Err() == nil {
				n.log.Warn("snapshot", "error", err)
			}
			continue
		}
		taken = written
	}
}
