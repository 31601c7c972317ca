// Package check says whether the history of a chaos run keeps the guarantees of ARCHITECTURE.md. It knows the history and those
// guarantees, and imports none of the code that is to keep them.
package check

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Validity is what a run shows.
type Validity string

const (
	Valid   Validity = "valid"   // every guarantee was kept, as far as the history can tell
	Invalid Validity = "invalid" // at least one was broken, or the run did too little to count
	Unknown Validity = "unknown" // nothing was seen broken, and something could not be decided
)

// Violation is a guarantee that was not kept, or one of which it could not be decided.
type Violation struct {
	Checker    string              `json:"checker"`
	Invariant  string              `json:"invariant,omitempty"` // as in ARCHITECTURE.md; empty: what a run must do to count
	Key        string              `json:"key,omitempty"`       // empty: of no one profile
	Text       string              `json:"text"`
	Operations []history.Operation `json:"operations,omitempty"`
	Undecided  bool                `json:"undecided,omitempty"` // neither shown to be kept nor to be broken
	Page       string              `json:"page,omitempty"`      // file name of porcupine's page in Options.Pages
}

func (v *Violation) String() string {
	var b strings.Builder
	b.WriteString(v.Checker)
	for _, part := range []string{v.Invariant, v.Key} {
		if part != "" {
			b.WriteString(", " + part)
		}
	}
	if v.Undecided {
		b.WriteString(" (undecided)")
	}
	b.WriteString(": " + v.Text)
	for i := range v.Operations {
		b.WriteString("\n    " + v.Operations[i].String())
	}
	return b.String()
}

// Options are what the caller asks of a run.
type Options struct {
	TimePerKey time.Duration            // for the search of one key by one searcher; 0: 10 s
	Pages      string                   // folder for porcupine's page of each key that fails; empty: none
	Minimum    Minimum                  // what a run must have done to count
	Recovery   map[string]time.Duration // bounds by the name of a fault, see checkRecovery; "": of all others; none: no bound
	Also       []Checker                // of what only the runner has: digests of nodes, alarms, resources
}

// Result is what the checkers found.
type Result struct {
	Validity   Validity    `json:"validity"`
	Violations []Violation `json:"violations"`
	Statistics Statistics  `json:"statistics"`
}

// mostWritten is how many violations a terminal is given. A store that is broken at all breaks hundreds of guarantees.
const mostWritten = 12

// WriteText writes the result for a terminal: what it is first, then why.
func (r *Result) WriteText(w io.Writer) {
	fmt.Fprintf(w, "%s: %d violations\n", r.Validity, len(r.Violations))
	for i := range r.Violations[:min(len(r.Violations), mostWritten)] {
		fmt.Fprintf(w, "  %s\n", r.Violations[i].String())
	}
	if more := len(r.Violations) - mostWritten; more > 0 {
		fmt.Fprintf(w, "  and %d more, which the report has\n", more)
	}
	r.Statistics.writeText(w)
}

// Checker looks for violations of one kind. It may add to the history's Statistics.
type Checker struct {
	Name  string
	Check func(h *History) []Violation
}

// Checkers are all checkers, the cheap ones first.
var Checkers = []Checker{
	{"revisions", checkRevisions},
	{"lost saves", checkLostSaves},
	{"fenced writes", checkFencedWrites},
	{"owners", checkOwners},
	{"messages", checkMessages},
	{"appends", checkAppends},
	{"coins", checkCoins},
	{"finals", checkFinals},
	{"too little", checkMinimum},
	{"recovery", checkRecovery},
	{"linearizability", checkLinearizability},
}

// Check runs all checkers over a history. The error is one of the history itself.
func Check(header history.Header, events []history.Event, options Options) (*Result, error) {
	h, err := NewHistory(header, events, options)
	if err != nil {
		return nil, err
	}
	r := &Result{Validity: Valid}
	for _, c := range append(append([]Checker{}, Checkers...), options.Also...) {
		for _, v := range c.Check(h) {
			v.Checker = c.Name
			r.Violations = append(r.Violations, v)
			switch {
			case !v.Undecided:
				r.Validity = Invalid
			case r.Validity == Valid:
				r.Validity = Unknown
			}
		}
	}
	r.Statistics = h.Statistics
	return r, nil
}
