package raftlog

import (
	"runtime"
	"sync/atomic"
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
