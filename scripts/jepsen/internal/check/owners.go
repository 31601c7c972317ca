package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkOwners: numbers and tokens of grants never repeat and rise in real time, and no session is active once a later grant was
// told.
func checkOwners(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		found = append(found, p.checkGrants()...)
		found = append(found, h.checkActive(p)...)
	}
	return found
}

func (p *profile) checkGrants() (found []Violation) {
	complain := func(a, b *history.Operation, format string, args ...any) {
		found = append(found, Violation{Invariant: "I1", Key: p.key, Operations: copyOperations(a, b), Text: fmt.Sprintf(format, args...)})
	}
	for i, b := range p.starts {
		if b.Completion.Loads == 0 {
			complain(b, nil, "a session was given without the number of its grant")
		}
		if i == 0 {
			continue
		}
		a := p.starts[i-1]
		if a.Completion.Loads == b.Completion.Loads {
			complain(a, b, "%s and %s were both given grant %d", a.Session(), b.Session(), a.Completion.Loads)
		}
		if x, y := a.Completion.Token, b.Completion.Token; x > 0 && y > 0 && x >= y {
			complain(a, b, "grant %d has token %d, and the later grant %d has token %d", a.Completion.Loads, x, b.Completion.Loads, y)
		}
	}
	byCall := slices.Clone(p.starts)
	slices.SortStableFunc(byCall, func(a, b *history.Operation) int { return cmp.Compare(a.Call, b.Call) })
	byReturn := slices.Clone(p.starts)
	slices.SortStableFunc(byReturn, func(a, b *history.Operation) int { return cmp.Compare(a.Return, b.Return) })
	var highest *history.Operation // of those that were told before the call
	told := 0
	for _, o := range byCall {
		for ; told < len(byReturn) && byReturn[told].Return < o.Call; told++ {
			if highest == nil || byReturn[told].Completion.Loads > highest.Completion.Loads {
				highest = byReturn[told]
			}
		}
		if highest != nil && o.Completion.Loads < highest.Completion.Loads {
			complain(highest, o, "grant %d was asked for after grant %d was told", o.Completion.Loads, highest.Completion.Loads)
		}
	}
	return found
}

// checkActive: IsActive of a session is false from when the start of a later grant returns. A session that the history does not
// show to be active, such as that of a killed process, is not judged.
func (h *History) checkActive(p *profile) (found []Violation) {
	later := p.indexLaterStarts()
	for _, o := range p.starts {
		s := h.sessions[o.Session()]
		if s == nil || s.start != o {
			continue
		}
		at := later.placeAfter(s.loads)
		for _, t := range s.active {
			if later.firstReturn[at] < t {
				found = append(found, Violation{Invariant: "I8", Key: p.key, Operations: copyOperations(o, later.whoReturned(at)), Text: fmt.Sprintf(
					"%s of grant %d was active at %v, %v after a later grant was told", s.name, s.loads, t, t-later.firstReturn[at])})
				break
			}
		}
	}
	return found
}
