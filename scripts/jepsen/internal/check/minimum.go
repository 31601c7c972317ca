package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Minimum is what a run must have done to count. A run that did less shows nothing, and fails.
type Minimum struct {
	Operations   int                    // in all
	Acknowledged map[history.Action]int // operations of each action
	Unknown      int                    // operations of unknown outcome
	Keys         int
	Faults       map[string]int // that began and ended, by name; "": in all
	Seconds      int            // from the first event to the last
	Counts       map[string]Count
}

// Count is something that the runner counted itself, such as packets that were dropped or elections, with its least value.
type Count struct{ Seen, Least int64 }

// checkMinimum: the run did enough.
func checkMinimum(h *History) (found []Violation) {
	least := h.Options.Minimum
	need := func(what string, seen, want int) {
		if seen < want {
			found = append(found, Violation{Text: fmt.Sprintf("%d %s, where a run needs %d", seen, what, want)})
		}
	}
	s := &h.Statistics
	need("operations", s.Operations, least.Operations)
	need("operations of unknown outcome", s.unknown(), least.Unknown)
	need("keys", s.Keys, least.Keys)
	need("seconds", int(h.length.Seconds()), least.Seconds)
	for _, a := range slices.Sorted(maps.Keys(least.Acknowledged)) {
		need("acknowledged operations of the kind "+string(a), s.Outcomes[a].OK, least.Acknowledged[a])
	}
	healed := map[string]int{}
	for _, f := range h.Faults {
		if f.End != history.Never {
			healed[f.Name]++
			healed[""]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(least.Faults)) {
		need("faults "+name+" that began and ended", healed[name], least.Faults[name])
	}
	for _, name := range slices.Sorted(maps.Keys(least.Counts)) {
		need(name, int(least.Counts[name].Seen), int(least.Counts[name].Least))
	}
	return found
}
