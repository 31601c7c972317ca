package snapshot

import (
	"errors"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// checkpointSnapshot is a snapshot that has no label yet.
type checkpointSnapshot struct {
	snapshots *Store
	dir       string
	row       uint64
}

// NewCheckpoint makes a snapshot of a checkpoint of the tables in dir, which NewScratch gave. row is their applied row.
func NewCheckpoint(s *Store, dir string, row uint64) raft.FSMSnapshot {
	return &checkpointSnapshot{snapshots: s, dir: dir, row: row}
}

// Persist hands the checkpoint's folder over.
func (c *checkpointSnapshot) Persist(to raft.SnapshotSink) error {
	own, ok := to.(*sink)
	if !ok {
		return errors.Join(errors.New("keep snapshot: the sink is not one of this node's store"), to.Cancel())
	}
	adopted := disk.TimeStep(c.snapshots.log, "list and sync the tables' links", false)
	err := own.adoptCheckpoint(c.dir, c.row)
	adopted()
	if err != nil {
		return errors.Join(err, to.Cancel())
	}
	return to.Close()
}

// Release deletes the checkpoint if no snapshot took it.
func (c *checkpointSnapshot) Release() { _ = c.snapshots.RemoveScratch(c.dir) }
