package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/internal/sim/check"
)

// storyLine is one thing that happened.
type storyLine struct {
	at      time.Duration
	profile string // empty: a fault, or an event of a game server
	text    string
}

// logEvent adds a line about a profile to the story.
func (w *World) logEvent(profile, format string, args ...any) {
	l := storyLine{at: w.Now(), profile: profile, text: fmt.Sprintf(format, args...)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, l)
}

// logFault adds a line about a fault to the story.
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

const storyLines = 150

// makeReport sums the run up, with the part of the story that concerns the profiles with violations.
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
	var concerns []storyLine
	for _, l := range w.story {
		if l.profile == "" {
			r.Faults++
		}
		if len(w.found) > 0 && slices.Contains(about, l.profile) {
			concerns = append(concerns, l)
		}
	}
	r.Story = formatStory(concerns)
	return r
}

func formatStory(lines []storyLine) (story []string) {
	for _, l := range lines {
		story = append(story, strings.TrimSpace(fmt.Sprintf("%10v %s %s", l.at.Round(time.Millisecond), l.profile, l.text)))
	}
	return story
}

// lastLines is the end of a story that may be long.
func lastLines(story []string) string {
	var b strings.Builder
	if left := len(story) - storyLines; left > 0 {
		fmt.Fprintf(&b, "  (%d lines are left out)\n", left)
		story = story[left:]
	}
	for _, l := range story {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	return b.String()
}

// String is a failed run for a reader: its violations, the story, and the command that repeats it.
func (r Report) String(again string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d promises not kept\n", r.Seed, len(r.Violations))
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	fmt.Fprintf(&b, "the story:\n%sagain: %s\n", lastLines(r.Story), again)
	return b.String()
}
