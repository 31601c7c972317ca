package raftlog

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// Raft panics where a committed entry cannot be read, or a term cannot be written. Its goroutine ends instead, once the
// node has stopped; before raft runs the error goes to whoever asked.
func TestAFailedDiskEndsRaftsGoroutineAndNotTheProcess(t *testing.T) {
	broken := &brokenStore{InmemStore: raft.NewInmemStore(), err: errors.New("disk is gone")}
	var told []error
	stop := func(err error) { told = append(told, err) }
	q := &shutdownGuard{}
	g, v := &GuardedLog{LogStore: broken, onFault: stop, guard: q}, guardedVotes{brokenVotes{}, stop, q, nil}
	for _, act := range []func() error{
		func() error { return g.GetLog(1, &raft.Log{}) },
		func() error { return v.SetUint64([]byte("CurrentTerm"), 5) },
	} {
		for _, running := range []bool{false, true} {
			q.raftRuns.Store(running)
			told = nil
			returned, ended := false, make(chan struct{})
			go func() {
				defer close(ended)
				if err := act(); err == nil {
					t.Error("no error from a broken disk")
				}
				returned = true
			}()
			<-ended
			if returned == running || len(told) != 1 {
				t.Errorf("raft runs %v: it came back %v, and the node was told %v", running, returned, told)
			}
		}
	}
}

type brokenVotes struct{ raft.StableStore }

func (brokenVotes) SetUint64([]byte, uint64) error { return errors.New("disk is gone") }
