package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	snapshotPeriod     = time.Second      // how often keepSnapshots compares the bytes written to the log with Config.SnapshotBytes
	snapshotRepeatWait = 10 * time.Second // after a snapshot that could not be taken
	snapshotLateFor    = time.Minute      // after so long without a snapshot that is due, an alarm stands
	transferAlarmTries = 2                // transfers of a snapshot that fail in a row before an alarm stands
	transferAlarmFor   = 10 * time.Minute // the alarm ends so long after the last failure, if there is no further attempt
)

// snapshotSchedule takes this node's snapshots when they are due, and knows which of them, and which transfers from a leader to
// another node, fail again and again.
type snapshotSchedule struct {
	node *Node

	mu       sync.Mutex
	lateFrom time.Time                  // since when a due snapshot could not be taken; zero: none is due, or the last was taken
	lateErr  error                      // of the last attempt
	received failedTransfers            // of snapshots that leaders sent to this node
	sent     map[string]failedTransfers // by node id, of snapshots that this node sent
}

// failedTransfers are the transfers of a snapshot to one node that failed since the last one that did not.
type failedTransfers struct {
	count int
	last  time.Time
	err   error
}

func (f failedTransfers) next(err error, now time.Time) failedTransfers {
	if err == nil {
		return failedTransfers{}
	}
	return failedTransfers{f.count + 1, now, err}
}

func (f failedTransfers) isAlarming(now time.Time) bool {
	return f.count >= transferAlarmTries && now.Sub(f.last) < transferAlarmFor
}

// Snapshot takes a snapshot now, so that the log before it can be cut. It returns nil if nothing was applied since the last
// one.
func (n *Node) Snapshot() error { return n.schedule.takeSnapshot() }

func (s *snapshotSchedule) takeSnapshot() error {
	n := s.node
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

// replaceDamaged goes on from a file of the newest snapshot that turned out to be damaged when it was to be sent. If that
// file of the live tables is damaged too, this node stops, as with a failed disk: another one leads, and has a snapshot of its own to
// send. Otherwise a new snapshot takes the place of the damaged one, which would be refused again and again.
func (s *snapshotSchedule) replaceDamaged(file string, damage error) {
	n := s.node
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
	if err := s.takeSnapshot(); err != nil {
		n.log.Warn("take snapshot failed, and is tried again when the damaged one is to be sent again", "error", err)
	}
}

// keepSnapshots takes a snapshot whenever SnapshotBytes were written to the log. Raft's own threshold counts entries, and
// entries differ in size by a factor of ten thousand.
func (s *snapshotSchedule) keepSnapshots() {
	n := s.node
	var taken uint64
	var tried time.Time
	tick := time.NewTicker(snapshotPeriod)
	defer tick.Stop()
	for {
		select {
		case <-n.lifecycle.running.Done():
			return
		case <-tick.C:
		}
		if n.raftIfRunning() == nil || s.isLate() && time.Since(tried) < snapshotRepeatWait {
			continue
		}
		written := n.storage.Log.WrittenBytes.Load()
		if written-taken < n.config.SnapshotBytes {
			continue
		}
		err := s.takeSnapshot()
		if n.lifecycle.running.Err() != nil {
			return
		}
		tried = time.Now()
		s.noteTaken(err, tried)
		if err != nil {
			n.log.Warn("take snapshot failed, and is tried again", "error", err)
			continue
		}
		taken = written
	}
}

func (s *snapshotSchedule) isLate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lateErr != nil
}

func (s *snapshotSchedule) noteTaken(err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lateErr = err
	switch {
	case err == nil:
		s.lateFrom = time.Time{}
	case s.lateFrom.IsZero():
		s.lateFrom = now
	}
}

// noteReceived records that a transfer of a snapshot to this node has failed, or, with nil, that a snapshot was put in place.
func (s *snapshotSchedule) noteReceived(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = s.received.next(err, time.Now())
}

// noteSent records the outcome of a transfer of a snapshot to another node.
func (s *snapshotSchedule) noteSent(to string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent == nil {
		s.sent = map[string]failedTransfers{}
	}
	s.sent[to] = s.sent[to].next(err, time.Now())
}

// alarms names the snapshots that this node cannot take, receive or send.
func (s *snapshotSchedule) alarms() []Alarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var alarms []Alarm
	if !s.lateFrom.IsZero() && now.Sub(s.lateFrom) >= snapshotLateFor {
		alarms = append(alarms, Alarm{
			Code: AlarmSnapshotLate,
			Text: fmt.Sprintf("this node cannot take a snapshot that is due, so its log grows until its disk is full: %v", s.lateErr),
		})
	}
	if s.received.isAlarming(now) {
		alarms = append(alarms, Alarm{
			Code: AlarmSnapshotNotInstalled,
			Text: fmt.Sprintf("%d transfers of a snapshot to this node have failed in a row, and without one it cannot catch up: %v", s.received.count, s.received.err),
		})
	}
	for _, id := range slices.Sorted(maps.Keys(s.sent)) {
		if f := s.sent[id]; f.isAlarming(now) {
			alarms = append(alarms, Alarm{
				Code: AlarmSnapshotNotInstalled, subject: id,
				Text: fmt.Sprintf("%d transfers of a snapshot from this node to node %s have failed in a row, and without one it cannot catch up: %v", f.count, id, f.err),
			})
		}
	}
	return alarms
}
