package cluster

import (
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Metrics is told of a node's work, when it is done. Several goroutines call it at once, and it must not block. The
// state of a node is in Status.
type Metrics interface {
	// RecordProposal tells of a command that this node was asked to put into the log. Without an error the result is that
	// of it.
	RecordProposal(c *fsm.Command, result fsm.Result, took time.Duration, err error)
	// RecordEntry tells of one that is proposed.
	RecordEntry(commands, bytes int)
	// RecordRound tells of a round of proof.
	RecordRound(took time.Duration, err error)
	// RecordRenewal tells of a renewal that asked to be answered as confirmed.
	RecordRenewal(err error)
	// RecordEvents tells, at the leader, of an event of the log.
	RecordEvents(events []fsm.Event)
	// RecordExpiry tells of an expiry's outcome, and since when its incarnation was silent.
	RecordExpiry(ground lock.Ground, refused bool, silent time.Duration)
	// RecordTakeover tells how long after an expiry the last waiter of its incarnation was served.
	RecordTakeover(took time.Duration)
	// RecordSnapshot tells of one that was made, or installed.
	RecordSnapshot(installed bool, took time.Duration, err error)
}

// noMetrics drops everything.
type noMetrics struct{}

var _ Metrics = noMetrics{}

func (noMetrics) RecordProposal(*fsm.Command, fsm.Result, time.Duration, error) {}
func (noMetrics) RecordEntry(int, int)                                          {}
func (noMetrics) RecordRound(time.Duration, error)                              {}
func (noMetrics) RecordRenewal(error)                                           {}
func (noMetrics) RecordEvents([]fsm.Event)                                      {}
func (noMetrics) RecordExpiry(lock.Ground, bool, time.Duration)                 {}
func (noMetrics) RecordTakeover(time.Duration)                                  {}
func (noMetrics) RecordSnapshot(bool, time.Duration, error)                     {}
