package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/internal/sim/check"
)

// line is one thing that happened.
type line struct {
	at      time.Duration
	profile string // empty: a fault, or what befell a game server
	text    string
}

// tell notes what happened to a profile.
func (w *World) tell(profile, format string, args ...any) {
	l := line{at: w.Now(), profile: profile, text: fmt.Sprintf(format, args...)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, l)
}

// fault notes what was done to the world.
func (w *World) fault(format string, args ...any) { w.tell("", format, args...) }

// record changes the history.
func (w *World) record(f func(h *check.History)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.history)
}

// done notes an answer.
func (w *World) done(s *check.Span, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	s.Return, s.Answered = time.Since(w.began), true
}

const storyLines = 150

// report is what came of it, with the part of the story that concerns the profiles of which something is amiss.
func (w *World) report() Report {
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
	var concerns []line
	for _, l := range w.story {
		if l.profile == "" {
			r.Faults++
		}
		if len(w.found) > 0 && slices.Contains(about, l.profile) {
			concerns = append(concerns, l)
		}
	}
	r.Story = tellAll(concerns)
	return r
}

func tellAll(lines []line) (story []string) {
	for _, l := range lines {
		story = append(story, strings.TrimSpace(fmt.Sprintf("%10v %s %s", l.at.Round(time.Millisecond), l.profile, l.text)))
	}
	return story
}

// last is the end of a story that may be long.
func last(story []string) string {
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

// String is what a person needs to see of a failed run.
func (r Report) String(again string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d promises not kept\n", r.Seed, len(r.Violations))
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	fmt.Fprintf(&b, "the story:\n%sagain: %s\n", last(r.Story), again)
	return b.String()
}
