package cuts

import (
	"fmt"
	"io"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
)

type report struct {
	Machine string   `json:"machine"`
	Trials  []*trial `json:"trials"`

	goal time.Duration
}

// String is the result in one line.
func (t *trial) String() string {
	if t.Fault != "" {
		return fmt.Sprintf("%s for %v: %s", t.Kind, t.Length, t.Fault)
	}
	return fmt.Sprintf("%s for %v: saved again after %s; %d sessions lost", t.Kind, t.Length, formatRecovered(t.Recovered), t.Lost)
}

func formatRecovered(all []time.Duration) string {
	s := measure.SamplesOf(all...)
	return fmt.Sprintf("%s at the median, %s at most", measure.FormatDuration(s.Quantile(0.5)), measure.FormatDuration(s.Quantile(1)))
}

// Print prints a line for each cut.
func (r *report) Print(out io.Writer) {
	fmt.Fprintln(out)
	var all []time.Duration
	for _, t := range r.Trials {
		fmt.Fprintln(out, t)
		all = append(all, t.Recovered...)
	}
	fmt.Fprintf(out, "all: %s\n", formatRecovered(all))
}

// Faults are game servers that were late, sessions lost, and cuts that hit nothing.
func (r *report) Faults() (faults []error) {
	for _, t := range r.Trials {
		most := measure.SamplesOf(t.Recovered...).Quantile(1)
		switch {
		case t.Fault != "":
			faults = append(faults, fmt.Errorf("%s for %v: %s", t.Kind, t.Length, t.Fault))
		case t.Dropped == 0:
			faults = append(faults, fmt.Errorf("%s for %v: no packet was dropped, so nothing was cut", t.Kind, t.Length))
		case t.Lost > 0:
			faults = append(faults, fmt.Errorf("%s for %v: %d sessions were lost", t.Kind, t.Length, t.Lost))
		case most > r.goal:
			faults = append(faults, fmt.Errorf("%s for %v: a game server saved again only after %v, want %v", t.Kind, t.Length, most, r.goal))
		}
	}
	return faults
}
