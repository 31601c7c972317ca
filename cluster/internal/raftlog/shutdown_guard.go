package raftlog

import (
	"runtime"
	"sync/atomic"
)

// shutdownGuard ends a goroutine of raft where raft would panic because of a failed disk.
//
// Raft panics if it cannot read a committed entry or cannot write its term. A panic ends the whole process: other nodes
// that run in it, and this node before it has logged the reason. So the goroutine that meets the fault is ended in its
// place. This is safe because onFault was called before: this node is stopping and already cut off from the others, so
// raft's unfinished work has no effect outside. It does not block the stop either: runtime.Goexit runs the goroutine's
// deferred calls, and one of them tells raft's Shutdown, which waits for all goroutines of raft, that this one has ended.
//
// Before raft runs, the log and the votes are read by the goroutine that starts the node. It must not end; it gets the
// error.
type shutdownGuard struct {
	raftRuns atomic.Bool // raft has started: its goroutines read the log and write the term
}

// exitGoroutine ends the calling goroutine if raft runs. Otherwise, and for a nil guard, it returns.
func (g *shutdownGuard) exitGoroutine() {
	if g != nil && g.raftRuns.Load() {
		runtime.Goexit()
	}
}
