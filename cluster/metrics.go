package cluster

import (
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Metrics is told of a node's work, when it is done. Several goroutines call it at once, and it must not block. The
// state of a node is in Status.
type Metrics interface {
	// Proposed tells of a command that this node was asked to put into the log. Without an error the result is that
	// of it.
	Proposed(c *fsm.Command, result fsm.Result, took time.Duration, err error)
	// Entry tells of one that is proposed.
	Entry(commands, bytes int)
	// Round tells of a round of proof.
	Round(took time.Duration, err error)
	// Renewed tells of a renewal that asked to be answered as proved.
	Renewed(err error)
	// Told tells, at the leader, of an event of the log.
	Told(events []fsm.Event)
	// Judged tells of a verdict's outcome, and since when its incarnation was silent.
	Judged(ground lock.Ground, refused bool, silent time.Duration)
	// Served tells how long after a verdict the last waiter of its incarnation was served.
	Served(took time.Duration)
	// Snapshot tells of one that was made, or installed.
	Snapshot(installed bool, took time.Duration, err error)
}

// noMetrics drops everything.
type noMetrics struct{}

var _ Metrics = noMetrics{}

func (noMetrics) Proposed(*fsm.Command, fsm.Result, time.Duration, error) {}
func (noMetrics) Entry(int, int)                                          {}
func (noMetrics) Round(time.Duration, error)                              {}
func (noMetrics) Renewed(error)                                           {}
func (noMetrics) Told([]fsm.Event)                                        {}
func (noMetrics) Judged(lock.Ground, bool, time.Duration)                 {}
func (noMetrics) Served(time.Duration)                                    {}
func (noMetrics) Snapshot(bool, time.Duration, error)                     {}
