package cluster

import (
	"context"
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
	err := n.tables.Flush()
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

// replaceDamagedSnapshot goes on from a file of the newest snapshot that turned out to be damaged when it was to be sent. If that
// file of the live tables is damaged too, this node stops, as with a failed disk: another one leads, and has a snapshot of its own to
// send. Otherwise a new snapshot takes the place of the damaged one, which would be refused again and again.
func (n *Node) replaceDamagedSnapshot(file string, damage error) {
	if damage := n.tables.CheckFile(file); damage != nil {
		hand, cancel := context.WithTimeout(n.lifecycle.running, drainLimit)
		defer cancel()
		if n.leadership.now() != nil {
			if err := n.leadership.transferLeadership(hand); err != nil {
				n.log.Warn("hand the lead over", "error", err)
			}
		}
		n.fail(fmt.Errorf("%w: %w", ErrFailed, damage))
		return
	}
	n.log.Warn("a file of the newest snapshot is damaged, and a new snapshot is taken in its place", "code", "SNAPSHOT_DAMAGED", "error", damage)
	if err := n.Snapshot(); err != nil {
		n.log.Warn("take snapshot failed, and is tried again when the damaged one is to be sent again", "error", err)
	}
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
