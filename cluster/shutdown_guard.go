package cluster

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// shutdownGuard ends the goroutine of raft's that has just learnt of a failed disk, where raft would panic and take the whole
// process with it: other nodes in it, and the line that says why. This node has stopped by then, and nothing that it says
// is heard. Raft's deferred work is done, and its shutdown does not wait for parts that are gone.
type shutdownGuard struct{ raftRuns atomic.Bool } // raft runs: its goroutines read the log and the votes

func (q *shutdownGuard) exitGoroutine() {
	if q != nil && q.raftRuns.Load() {
		runtime.Goexit()
	}
}

// newRaft is raft's own, but a log that cannot be read while raft starts is an error.
func newRaft(settings *raft.Config, r *replica, s *raftStorage, snapshots *snapshotStore, wire raft.Transport) (_ *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrFailed, p)
		}
	}()
	started, err := raft.NewRaft(settings, r, s.log, s.stable, snapshots, wire)
	if err == nil {
		s.guard.raftRuns.Store(true)
	} else if r.restoreErr != nil {
		err = fmt.Errorf("%w: %w", err, r.restoreErr)
		if disk.IsDamage(disk.AsDamage(snapshots.root, r.restoreErr)) { // not of the tables, which are a copy of the snapshot
			err = disk.NewDamageError(snapshots.root, err)
		}
	}
	return started, err
}
