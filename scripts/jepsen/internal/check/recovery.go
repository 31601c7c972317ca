package check

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Recovery is how long game servers took from the end of faults of one name to their next acknowledged save.
type Recovery struct {
	Fault     string          `json:"fault"`
	Times     []time.Duration `json:"times"`               // one for each fault and game server, ascending
	Disturbed int             `json:"disturbed,omitempty"` // not counted: another fault was in force meanwhile
	Idle      int             `json:"idle,omitempty"`      // not counted: that game server asked for nothing, or the run ended
	Bound     time.Duration   `json:"bound,omitempty"`
}

// Quantile is the time that the given part of the recoveries took at most.
func (r *Recovery) Quantile(part float64) time.Duration { return quantileOf(r.Times, part) }

// quantileOf is a quantile of ascending times.
func quantileOf(ascending []time.Duration, part float64) time.Duration {
	if len(ascending) == 0 {
		return 0
	}
	return ascending[min(len(ascending)-1, int(part*float64(len(ascending))))]
}

// gameServerTimes is when a game server asked for something, and when it was told of a save.
type gameServerTimes struct {
	name  string
	saved []time.Duration
	asked []*history.Operation // writes and starts, by Call
}

// checkRecovery: after a fault has ended each game server saves again within the bound for its name (I13). A time is held against
// the bound only if no other fault was in force from the end to the save, and the game server asked for something.
func checkRecovery(h *History) (found []Violation) {
	servers := h.indexGameServers()
	recoveries := map[string]*Recovery{}
	for i := range h.Faults {
		f := &h.Faults[i]
		r := recoveries[f.Name]
		if r == nil {
			r = &Recovery{Fault: f.Name, Bound: h.recoveryBound(f.Name)}
			recoveries[f.Name] = r
		}
		if f.End == history.Never {
			continue
		}
		undisturbed := h.undisturbedAfter(i)
		for k := range servers {
			s := &servers[k]
			saved := firstAt(s.saved, f.End)
			took := saved - f.End
			late := saved == history.Never || r.Bound > 0 && took > r.Bound
			deadline := saved
			if late && r.Bound > 0 {
				deadline = f.End + r.Bound
			}
			open := s.openAt(f.End, deadline)
			switch {
			case late && r.Bound > 0 && (deadline > h.length || open == nil):
				r.Idle++ // nothing was asked for long enough
			case saved == history.Never && r.Bound == 0:
				r.Idle++
			case deadline > undisturbed:
				r.Disturbed++
			case late:
				found = append(found, Violation{Invariant: "I13", Operations: copyOperations(open), Text: fmt.Sprintf(
					"%s %s the end of %s%s at %v; the bound is %v", s.name, describeLate(took, saved), f.Name, onNode(f.Node), f.End, r.Bound)})
				if saved != history.Never {
					r.Times = append(r.Times, took)
				}
			default:
				r.Times = append(r.Times, took)
			}
		}
	}
	for _, r := range recoveries {
		slices.Sort(r.Times)
		h.Statistics.Recoveries = append(h.Statistics.Recoveries, *r)
	}
	slices.SortFunc(h.Statistics.Recoveries, func(a, b Recovery) int { return cmp.Compare(a.Fault, b.Fault) })
	return found
}

func describeLate(took, saved time.Duration) string {
	if saved == history.Never {
		return "never saved after"
	}
	return fmt.Sprintf("saved %v after", took.Round(time.Millisecond))
}

func onNode(node string) string {
	if node == "" {
		return ""
	}
	return " on " + node
}

func (h *History) recoveryBound(fault string) time.Duration {
	if bound, ok := h.Options.Recovery[fault]; ok {
		return bound
	}
	return h.Options.Recovery[""]
}

// undisturbedAfter is until when no other fault is in force after the end of one; its end if one is in force then.
func (h *History) undisturbedAfter(i int) time.Duration {
	end, until := h.Faults[i].End, history.Never
	for k, other := range h.Faults {
		switch {
		case k == i || other.End <= end && other.End != history.Never:
		case other.Begin <= end:
			return end
		default:
			until = min(until, other.Begin)
		}
	}
	return until
}

func (h *History) indexGameServers() []gameServerTimes {
	byName := map[string]*gameServerTimes{}
	for i := range h.Operations {
		o := &h.Operations[i]
		a := o.Action()
		if a != history.Save && a != history.End && a != history.Start {
			continue
		}
		name := history.GameServer(o.Invocation.Process)
		s := byName[name]
		if s == nil {
			s = &gameServerTimes{name: name}
			byName[name] = s
		}
		s.asked = append(s.asked, o)
		if o.Type == history.OK && o.IsWrite() {
			s.saved = append(s.saved, o.Return)
		}
	}
	var all []gameServerTimes
	for _, s := range byName {
		slices.Sort(s.saved)
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b gameServerTimes) int { return cmp.Compare(a.name, b.name) })
	return all
}

// openAt is an operation that was asked for and not refused at once: begun before until, and not ended before from.
func (s *gameServerTimes) openAt(from, until time.Duration) *history.Operation {
	var found *history.Operation
	for _, o := range s.asked {
		if o.Call >= until {
			break
		}
		ended := history.Never
		if o.Completion.Type != "" {
			ended = o.Completion.Time
		}
		if ended >= from {
			found = o
		}
	}
	return found
}

// firstAt is the first of ascending times at or after from.
func firstAt(ascending []time.Duration, from time.Duration) time.Duration {
	i := sort.Search(len(ascending), func(i int) bool { return ascending[i] >= from })
	if i == len(ascending) {
		return history.Never
	}
	return ascending[i]
}
