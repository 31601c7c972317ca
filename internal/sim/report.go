package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/internal/sim/check"
)

// logLine is one event of a run.
type logLine struct {
	at      time.Duration
	profile string // empty: a fault, or an event of a game server
	text    string
}

// logEvent adds a line about a profile to the log of the run.
func (w *World) logEvent(profile, format string, args ...any) {
	l := logLine{at: w.Now(), profile: profile, text: fmt.Sprintf(format, args...)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, l)
}

// logFault adds a line about a fault to the log of the run.
func (w *World) logFault(format string, args ...any) { w.logEvent("", format, args...) }

// recordHistory changes the history.
func (w *World) recordHistory(f func(h *check.History)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.history)
}

// finishSpan notes an answer.
func (w *World) finishSpan(s *check.Span, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	s.Return, s.Answered = time.Since(w.began), true
}

const keptLines = 150

// makeReport sums the run up, with the lines of its log about the profiles with violations.
func (w *World) makeReport() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := Report{Seed: w.Seed, Violations: w.found, Sessions: len(w.history.Sessions), Struck: w.struck, Virtual: time.Since(w.began)}
	for _, s := range w.history.Saves {
		if s.Outcome == check.Done {
			r.Saves++
		} else if s.Outcome == check.Unknown {
			r.Unknown++
		}
	}
	about := []string{""}
	for _, v := range w.found {
		about = append(about, v.Profile)
	}
	var concerns []logLine
	for _, l := range w.log {
		if l.profile == "" {
			r.Faults++
		}
		if len(w.found) > 0 && slices.Contains(about, l.profile) {
			concerns = append(concerns, l)
		}
	}
	r.Log = formatLog(concerns)
	return r
}

func formatLog(lines []logLine) (text []string) {
	for _, l := range lines {
		text = append(text, strings.TrimSpace(fmt.Sprintf("%10v %s %s", l.at.Round(time.Millisecond), l.profile, l.text)))
	}
	return text
}

// lastLines is the end of a log that may be long.
func lastLines(text []string) string {
	var b strings.Builder
	if left := len(text) - keptLines; left > 0 {
		fmt.Fprintf(&b, "  (%d lines are left out)\n", left)
		text = text[left:]
	}
	for _, l := range text {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	return b.String()
}

// String is a failed run for a reader: its violations, its log, and the command that repeats it.
func (r Report) String(again string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d violations\n", r.Seed, len(r.Violations))
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	fmt.Fprintf(&b, "the log:\n%sagain: %s\n", lastLines(r.Log), again)
	return b.String()
}
