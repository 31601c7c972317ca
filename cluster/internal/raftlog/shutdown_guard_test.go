package raftlog

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// Raft panics if it cannot read a committed entry or write a term. The guard ends its goroutine in that place, after the
// node was stopped. Before raft runs, the caller gets the error.
func TestAFailedDiskEndsRaftsGoroutineAndNotTheProcess(t *testing.T) {
	broken := &brokenStore{InmemStore: raft.NewInmemStore(), err: errors.New("disk is gone")}
	var faults []error
	stop := func(err error) { faults = append(faults, err) }
	guard := &shutdownGuard{}
	g, v := &GuardedLog{LogStore: broken, onFault: stop, guard: guard}, guardedVotes{brokenVotes{}, stop, guard, nil}
	for _, act := range []func() error{
		func() error { return g.GetLog(1, &raft.Log{}) },
		func() error { return v.SetUint64([]byte("CurrentTerm"), 5) },
	} {
		for _, running := range []bool{false, true} {
			guard.raftRuns.Store(running)
			faults = nil
			returned, ended := false, make(chan struct{})
			go func() {
				defer close(ended)
				if err := act(); err == nil {
					t.Error("no error from a broken disk")
				}
				returned = true
			}()
			<-ended
			if returned == running || len(faults) != 1 {
				t.Errorf("raft runs: %v; the call returned: %v; faults: %v", running, returned, faults)
			}
		}
	}
}

// brokenVotes is a store of votes that cannot write the term.
type brokenVotes struct{ raft.StableStore }

func (brokenVotes) SetUint64([]byte, uint64) error { return errors.New("disk is gone") }
