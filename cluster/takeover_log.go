package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// takeoverRecord is what an operator wants to know of a verdict: its lines in the log begin with the same words, and name the
// same incarnation.
type takeoverRecord struct {
	incarnation   lock.Incarnation
	lastCommand   lock.Token // of its last command when it was judged
	name, address string
	sessions      int
	ground        lock.Ground
	signals       lock.Signals
	lastHeard     time.Time
	appliedAt     time.Time // zero: not
}

// logTakeover writes one line of it.
func (d *failureDetector) logTakeover(s *takeoverRecord, level slog.Level, what string, more ...any) {
	d.leader.node.log.Log(context.Background(), level, "game server "+what, append([]any{
		"name", s.name, "where", s.address, "incarnation", uint64(s.incarnation), "ground", s.ground.String(),
	}, more...)...)
}

// logStream writes a line of a story that may come to no verdict.
func (w *streamObservers) logStream(s *Stream, what string, more ...any) {
	view, err := w.leader.node.tables.openView()
	if err != nil {
		return // this node ends
	}
	defer view.Close()
	row, ok, err := view.Server(s.Incarnation)
	if err != nil || !ok || !row.Alive {
		return // it said goodbye
	}
	w.leader.node.log.Info("game server "+what, append([]any{
		"name", row.Name, "where", row.Where, "incarnation", uint64(s.Incarnation), "peer", s.PeerHost,
	}, more...)...)
}

// beginRecords writes down on what verdicts are asked for, and hands their stories out.
func (d *failureDetector) beginRecords(expiries []*fsm.Verdict) map[lock.Incarnation]*takeoverRecord {
	records := make(map[lock.Incarnation]*takeoverRecord, len(expiries))
	d.mu.Lock()
	for _, v := range expiries {
		inc := lock.Incarnation(v.Incarnation)
		if s, ok := d.records[inc]; ok {
			records[inc] = &s
			delete(d.records, inc)
		}
	}
	d.mu.Unlock()
	for _, inc := range slices.Sorted(maps.Keys(records)) {
		s := records[inc]
		d.logTakeover(s, slog.LevelInfo, "seems gone, a verdict is proposed", "why", s.groundText(d.leader.observers.answeringIncarnation(inc)), "silent", s.silentFor())
	}
	return records
}

func (s *takeoverRecord) silentFor() time.Duration {
	return max(0, time.Since(s.lastHeard)).Round(time.Millisecond)
}

// logOutcome writes down what became of verdicts; err says that none was applied.
func (d *failureDetector) logOutcome(records map[lock.Incarnation]*takeoverRecord, err error) {
	if len(records) == 0 {
		return
	}
	view, e := d.leader.node.tables.openView()
	if e != nil {
		return // this node ends
	}
	defer view.Close()
	for _, inc := range slices.Sorted(maps.Keys(records)) {
		s := records[inc]
		row, ok, e := view.Server(inc)
		if e != nil {
			return // the next look says why
		}
		applied := err == nil && ok && !row.Alive && row.Ground == s.ground
		d.leader.node.config.Metrics.RecordExpiry(s.ground, !applied, max(0, time.Since(s.lastHeard)))
		if !applied {
			d.logTakeover(s, slog.LevelInfo, "keeps its sessions, the verdict is refused", "why", s.refusalReason(row, err))
			continue
		}
		s.appliedAt = time.Now()
		d.logTakeover(s, slog.LevelInfo, "is gone", "why", s.groundText(d.leader.observers.answeringIncarnation(inc)), "silent", s.silentFor(), "profiles", s.sessions)
	}
}

// refusalReason is why a verdict was not applied.
func (s *takeoverRecord) refusalReason(row fsm.Server, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !row.Alive:
		return "it has ended before, on the ground of " + row.Ground.String()
	case row.Last != s.lastCommand:
		return "it has changed something since it was judged, so it lives"
	}
	return "the lead has changed since"
}

// logUnclear writes down that the next leader may yet carry verdicts out.
func (d *failureDetector) logUnclear(records map[lock.Incarnation]*takeoverRecord, err error) {
	for _, inc := range slices.Sorted(maps.Keys(records)) {
		d.logTakeover(records[inc], slog.LevelWarn, "may be gone, the verdict's outcome is unknown", "error", err)
	}
}

// logGranted writes down that all who waited for a gone game server's profiles have them. s is nil where no verdict ended it.
func (d *failureDetector) logGranted(s *takeoverRecord, granted uint64, err error) {
	if s == nil || s.appliedAt.IsZero() || err != nil {
		return // or the next look finds who still waits
	}
	took := time.Since(s.appliedAt)
	d.leader.node.config.Metrics.RecordTakeover(took)
	d.logTakeover(s, slog.LevelInfo, "has left its profiles to who waited", "granted", granted,
		"took", took.Round(time.Millisecond), "since heard", s.silentFor())
}

func (s *takeoverRecord) groundText(other lock.Incarnation) string {
	switch {
	case s.ground == lock.Proof && s.signals.SuccessorAnswered:
		return fmt.Sprintf("its process goes on as incarnation %d, which answers on its ping port", other)
	case s.ground == lock.Proof && s.signals.OtherAnswered:
		return fmt.Sprintf("its host ended the stream, and incarnation %d answers on its ping port", other)
	case s.ground == lock.Proof:
		return fmt.Sprintf("its host ended the stream, and refused its ping port %d times", s.signals.Refused)
	case s.ground == lock.Evidence && s.signals.Stream == lock.EndedByPeer:
		return "its host ended the stream, it opened no other, and was not heard"
	case s.ground == lock.Evidence && s.signals.Replaced:
		return "its process registered anew, and it was not heard"
	case s.ground == lock.Evidence:
		return "gossip says that it is dead, and it was not heard"
	}
	return "it was not heard for a lease"
}
