package snapshot

import (
	"errors"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// checkpointSnapshot is a checkpoint of the tables that may become a snapshot. Raft gives it its label in Persist.
type checkpointSnapshot struct {
	snapshots *Store
	dir       string       // folder of the checkpoint
	at        fsm.Position // of the tables in it
}

// NewCheckpoint returns the checkpoint of the tables in dir, a path that NewScratch returned, for raft to persist. at is
// the position of these tables.
func NewCheckpoint(s *Store, dir string, at fsm.Position) raft.FSMSnapshot {
	return &checkpointSnapshot{snapshots: s, dir: dir, at: at}
}

// Persist moves the checkpoint into to, which must be a sink of this node's Store, and completes the snapshot. After an
// error there is no snapshot.
func (c *checkpointSnapshot) Persist(to raft.SnapshotSink) error {
	own, ok := to.(*sink)
	if !ok {
		return errors.Join(errors.New("keep snapshot: the sink is not one of this node's store"), to.Cancel())
	}
	adopted := disk.TimeStep(c.snapshots.log, "list and sync the tables' links", false)
	err := own.adoptCheckpoint(c.dir, c.at)
	adopted()
	if err != nil {
		return errors.Join(err, to.Cancel())
	}
	return to.Close()
}

// Release deletes the checkpoint if Persist did not move it.
func (c *checkpointSnapshot) Release() { _ = c.snapshots.RemoveScratch(c.dir) }
