package liveness

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

// takeoverRecord holds the facts of one expiry for its log lines, as of the moment at which the expiry was opened. All
// lines of one takeover name the same incarnation and begin with the same words, so that an operator can follow it.
type takeoverRecord struct {
	incarnation   lock.Incarnation
	lastCommand   lock.Token // the incarnation's last applied command
	name, address string     // name and address of the game server
	sessions      int        // number of profiles that it owned
	ground        lock.Ground
	signals       lock.Signals // the signals that led to the ground
	lastHeard     time.Time    // when this leader last heard the incarnation
	appliedAt     time.Time    // when the expiry was applied, which is later; zero: it was not
}

// logTakeover writes one line of a takeover's log. event continues the sentence "game server ...".
func (d *Detector) logTakeover(s *takeoverRecord, level slog.Level, event string, more ...any) {
	d.config.Log.Log(context.Background(), level, "game server "+event, append([]any{
		"name", s.name, "where", s.address, "incarnation", uint64(s.incarnation), "ground", s.ground.String(),
	}, more...)...)
}

// logStream writes a line about a stream that has ended. event continues the sentence "game server ...". An expiry need not
// follow.
func (w *streamObservers) logStream(s *Stream, event string, more ...any) {
	view, err := w.leadership.OpenView()
	if err != nil {
		return // this node ends
	}
	defer func() { _ = view.Close() }()
	row, ok, err := view.Server(s.Incarnation)
	if err != nil || !ok || !row.Alive {
		return // it has ended already
	}
	w.config.Log.Info("game server "+event, append([]any{
		"name", row.Name, "where", row.Where, "incarnation", uint64(s.Incarnation), "peer", s.PeerHost,
	}, more...)...)
}

// beginRecords logs the expiries that are about to be proposed, and returns their records.
func (d *Detector) beginRecords(expiries []*fsm.Expiry) map[lock.Incarnation]*takeoverRecord {
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
		d.logTakeover(s, slog.LevelInfo, "seems gone, its expiry is proposed",
			"why", s.groundText(d.observers.answeringIncarnation(inc)), "silent", s.silentFor())
	}
	return records
}

func (s *takeoverRecord) silentFor() time.Duration {
	return max(0, time.Since(s.lastHeard)).Round(time.Millisecond)
}

// logOutcome logs the known outcome of proposed expiries. err is the error of the proposal; if it is not nil, none was
// applied.
func (d *Detector) logOutcome(records map[lock.Incarnation]*takeoverRecord, err error) {
	if len(records) == 0 {
		return
	}
	view, e := d.leadership.OpenView()
	if e != nil {
		return // this node ends
	}
	defer func() { _ = view.Close() }()
	for _, inc := range slices.Sorted(maps.Keys(records)) {
		s := records[inc]
		row, ok, e := view.Server(inc)
		if e != nil {
			return // the next tick logs the error
		}
		applied := err == nil && ok && !row.Alive && row.Ground == s.ground
		d.config.Metrics.RecordExpiry(s.ground, !applied, max(0, time.Since(s.lastHeard)))
		if !applied {
			d.logTakeover(s, slog.LevelInfo, "keeps its sessions, its expiry was refused", "why", s.refusalReason(row, err))
			continue
		}
		s.appliedAt = time.Now()
		d.logTakeover(s, slog.LevelInfo, "is gone", "code", "SERVER_GONE",
			"why", s.groundText(d.observers.answeringIncarnation(inc)), "silent", s.silentFor(), "profiles", s.sessions)
	}
}

// refusalReason returns the reason for which an expiry was not applied. row is the incarnation's row now.
func (s *takeoverRecord) refusalReason(row fsm.Server, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !row.Alive:
		return "it had ended already, on the ground of " + row.Ground.String()
	case row.Last != s.lastCommand:
		return "a command of it was applied since its expiry was opened, so it is alive"
	}
	return "leadership has changed since"
}

// logUnclear logs that the outcome of these expiries is unknown: the next leader may still apply them.
func (d *Detector) logUnclear(records map[lock.Incarnation]*takeoverRecord, err error) {
	for _, inc := range slices.Sorted(maps.Keys(records)) {
		d.logTakeover(records[inc], slog.LevelWarn, "may be gone, the outcome of its expiry is unknown", "error", err)
	}
}

// logGranted logs that all waiters for a gone game server's profiles have been served. s is nil if no expiry of this
// leader has ended it; then there is no takeover to log.
func (d *Detector) logGranted(s *takeoverRecord, granted uint64, err error) {
	if s == nil || s.appliedAt.IsZero() || err != nil {
		return // after an error the next tick finds the remaining waiters
	}
	took := time.Since(s.appliedAt)
	d.config.Metrics.RecordTakeover(took)
	d.logTakeover(s, slog.LevelInfo, "is taken over: its profiles went to their waiters", "granted", granted,
		"took", took.Round(time.Millisecond), "since heard", s.silentFor())
}

// groundText returns the ground of the expiry as a clause for an operator. other is the incarnation that answered on the
// ping port in its place, 0 for none.
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
		return "its process registered again, and it was not heard"
	case s.ground == lock.Evidence:
		return "gossip says that it is dead, and it was not heard"
	}
	return "it was not heard for a lease"
}
