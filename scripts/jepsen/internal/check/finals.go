package check

import (
	"fmt"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkFinals: a key that was written and was not read at the end hides what became of it, so the run shows nothing about it. A
// final read before the last operation on its key came to an end is none.
func checkFinals(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		var last *history.Operation // that wrote or sent, and was answered last
		for _, o := range p.operations {
			if !o.IsWrite() && o.Action() != history.Send {
				continue
			}
			if last == nil || o.Completion.Time > last.Completion.Time {
				last = o
			}
		}
		switch {
		case last == nil:
		case p.final == nil:
			found = append(found, Violation{Key: key, Undecided: true, Text: "it was written, and there is no final read of it"})
		case last.Completion.Time > p.final.Time:
			found = append(found, Violation{Key: key, Undecided: true, Operations: copyOperations(last), Text: fmt.Sprintf(
				"the final read at %v is not the last: this was answered later", p.final.Time)})
		}
	}
	return found
}
