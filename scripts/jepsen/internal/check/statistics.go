package check

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Outcomes counts operations by what came of them.
type Outcomes struct {
	OK      int `json:"ok"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// Statistics are what a run did.
type Statistics struct {
	Events        int                         `json:"events"`
	Operations    int                         `json:"operations"`
	Keys          int                         `json:"keys"`
	Sessions      int                         `json:"sessions"`
	Length        time.Duration               `json:"length"`
	Outcomes      map[history.Action]Outcomes `json:"outcomes"`
	UnknownWrites int                         `json:"unknown_writes"`
	LandedUnknown int                         `json:"landed_unknown"` // of these, that somebody saw
	Zombies       map[string]int              `json:"zombies"`        // refused raw writes of lost sessions, by how those were lost
	Faults        map[string]int              `json:"faults"`
	Skipped       map[string]string           `json:"skipped"` // faults that this machine cannot do, with the reason
	Recoveries    []Recovery                  `json:"recoveries"`
	DecidedBy     map[string]int              `json:"decided_by"` // keys, by the searchers that decided them
}

func newStatistics(h *History, events int) Statistics {
	s := Statistics{
		Events: events, Operations: len(h.Operations), Keys: len(h.keys), Sessions: len(h.sessions), Length: h.length,
		Outcomes: map[history.Action]Outcomes{}, Zombies: map[string]int{}, Faults: map[string]int{}, Skipped: map[string]string{}, DecidedBy: map[string]int{},
	}
	for i := range h.Operations {
		o := &h.Operations[i]
		counts := s.Outcomes[o.Action()]
		switch o.Type {
		case history.OK:
			counts.OK++
		case history.Fail:
			counts.Fail++
		default:
			counts.Unknown++
		}
		s.Outcomes[o.Action()] = counts
		if o.Action() == history.Zombie && o.Type == history.Fail {
			how := o.Invocation.Lost
			if o.Invocation.Current {
				how += ", on the current revision"
			}
			s.Zombies[how]++
		}
	}
	for _, f := range h.Faults {
		s.Faults[f.Name]++
	}
	for _, e := range h.skipped {
		s.Skipped[e.Name] = e.Detail
	}
	return s
}

// unknown counts all operations of unknown outcome.
func (s *Statistics) unknown() (n int) {
	for _, o := range s.Outcomes {
		n += o.Unknown
	}
	return n
}

// LandedShare is the part of the writes of unknown outcome that are known to have happened.
func (s *Statistics) LandedShare() float64 {
	if s.UnknownWrites == 0 {
		return 0
	}
	return float64(s.LandedUnknown) / float64(s.UnknownWrites)
}

func (s *Statistics) writeText(w io.Writer) {
	fmt.Fprintf(w, "  %d operations on %d keys in %v, %d sessions\n", s.Operations, s.Keys, s.Length.Round(time.Second), s.Sessions)
	for _, a := range slices.Sorted(maps.Keys(s.Outcomes)) {
		o := s.Outcomes[a]
		fmt.Fprintf(w, "  %-7s %7d ok %7d refused %7d unknown\n", a, o.OK, o.Fail, o.Unknown)
	}
	fmt.Fprintf(w, "  of %d writes of unknown outcome %d landed (%.0f %%)\n", s.UnknownWrites, s.LandedUnknown, 100*s.LandedShare())
	if len(s.Zombies) > 0 {
		fmt.Fprintf(w, "  raw writes of lost sessions that were refused: %s\n", describeCounts(s.Zombies))
	}
	fmt.Fprintf(w, "  faults: %s\n", describeCounts(s.Faults))
	for _, name := range slices.Sorted(maps.Keys(s.Skipped)) {
		fmt.Fprintf(w, "  skipped: %s, since %s\n", name, s.Skipped[name])
	}
	for i := range s.Recoveries {
		r := &s.Recoveries[i]
		fmt.Fprintf(w, "  recovery from %s: %d, p50 %v, max %v; %d disturbed, %d idle\n", r.Fault, len(r.Times),
			r.Quantile(0.5).Round(time.Millisecond), r.Quantile(1).Round(time.Millisecond), r.Disturbed, r.Idle)
	}
	fmt.Fprintf(w, "  keys by who decided them: %s\n", describeCounts(s.DecidedBy))
}

func describeCounts(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
