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
	inc         lock.Incarnation
	last        lock.Token // of its last command when it was judged
	name, where string
	sessions    int
	ground      lock.Ground
	signals     lock.Signals
	heard       time.Time
	applied     time.Time // zero: not
}

// logTakeover writes one line of it.
func (j *failureDetector) logTakeover(s *takeoverRecord, level slog.Level, what string, more ...any) {
	j.l.node.log.Log(context.Background(), level, "game server "+what, append([]any{
		"name", s.name, "where", s.where, "incarnation", uint64(s.inc), "ground", s.ground.String(),
	}, more...)...)
}

// logStream writes a line of a story that may come to no verdict.
func (w *streamObservers) logStream(s *Stream, what string, more ...any) {
	view, err := w.l.node.tables.openView()
	if err != nil {
		return // this node ends
	}
	defer view.Close()
	row, ok, err := view.Server(s.Server)
	if err != nil || !ok || !row.Alive {
		return // it said goodbye
	}
	w.l.node.log.Info("game server "+what, append([]any{
		"name", row.Name, "where", row.Where, "incarnation", uint64(s.Server), "peer", s.Peer,
	}, more...)...)
}

// beginRecords writes down on what verdicts are asked for, and hands their stories out.
func (j *failureDetector) beginRecords(verdicts []*fsm.Verdict) map[lock.Incarnation]*takeoverRecord {
	stories := make(map[lock.Incarnation]*takeoverRecord, len(verdicts))
	j.mu.Lock()
	for _, v := range verdicts {
		inc := lock.Incarnation(v.Incarnation)
		if s, ok := j.stories[inc]; ok {
			stories[inc] = &s
			delete(j.stories, inc)
		}
	}
	j.mu.Unlock()
	for _, inc := range slices.Sorted(maps.Keys(stories)) {
		s := stories[inc]
		j.logTakeover(s, slog.LevelInfo, "seems gone, a verdict is proposed", "why", s.groundText(j.l.observers.answeringIncarnation(inc)), "silent", s.silentFor())
	}
	return stories
}

func (s *takeoverRecord) silentFor() time.Duration {
	return max(0, time.Since(s.heard)).Round(time.Millisecond)
}

// logOutcome writes down what became of verdicts; err says that none was applied.
func (j *failureDetector) logOutcome(stories map[lock.Incarnation]*takeoverRecord, err error) {
	if len(stories) == 0 {
		return
	}
	view, e := j.l.node.tables.openView()
	if e != nil {
		return // this node ends
	}
	defer view.Close()
	for _, inc := range slices.Sorted(maps.Keys(stories)) {
		s := stories[inc]
		row, ok, e := view.Server(inc)
		if e != nil {
			return // the next look says why
		}
		applied := err == nil && ok && !row.Alive && row.Ground == s.ground
		j.l.node.config.Metrics.Judged(s.ground, !applied, max(0, time.Since(s.heard)))
		if !applied {
			j.logTakeover(s, slog.LevelInfo, "keeps its sessions, the verdict is refused", "why", s.refusalReason(row, err))
			continue
		}
		s.applied = time.Now()
		j.logTakeover(s, slog.LevelInfo, "is gone", "why", s.groundText(j.l.observers.answeringIncarnation(inc)), "silent", s.silentFor(), "profiles", s.sessions)
	}
}

// refusalReason is why a verdict was not applied.
func (s *takeoverRecord) refusalReason(row fsm.Server, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !row.Alive:
		return "it has ended before, on the ground of " + row.Ground.String()
	case row.Last != s.last:
		return "it has changed something since it was judged, so it lives"
	}
	return "the lead has changed since"
}

// logUnclear writes down that the next leader may yet carry verdicts out.
func (j *failureDetector) logUnclear(stories map[lock.Incarnation]*takeoverRecord, err error) {
	for _, inc := range slices.Sorted(maps.Keys(stories)) {
		j.logTakeover(stories[inc], slog.LevelWarn, "may be gone, the verdict's outcome is unknown", "error", err)
	}
}

// logGranted writes down that all who waited for a gone game server's profiles have them. s is nil where no verdict ended it.
func (j *failureDetector) logGranted(s *takeoverRecord, granted uint64, err error) {
	if s == nil || s.applied.IsZero() || err != nil {
		return // or the next look finds who still waits
	}
	took := time.Since(s.applied)
	j.l.node.config.Metrics.Served(took)
	j.logTakeover(s, slog.LevelInfo, "has left its profiles to who waited", "granted", granted,
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
