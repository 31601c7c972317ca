package takeover

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

type report struct {
	phases []*result
	strict bool
}

// MarshalJSON makes one object, in which every phase has a name. One that was not run, or was skipped, has n 0.
func (r report) MarshalJSON() ([]byte, error) {
	all := make(map[string]any)
	for _, p := range allPhases() {
		all[p.name] = measure.Figures{}
	}
	late, landed := r.sumLate()
	all["zombie_writes_tried"], all["zombie_writes_landed"] = late.Tried, landed
	for _, p := range r.phases {
		all[p.phase.name] = p.samples.Figures()
	}
	return json.Marshal(all)
}

func (r report) sumLate() (late testbed.LateSaves, landed int) {
	for _, p := range r.phases {
		late.Add(p.late)
		landed += p.landed()
	}
	return late, landed
}

// Print prints a table.
func (r report) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%-9s %6s %9s %9s %9s   %s\n", "", "n", "p50", "p99", "max", "goal")
	for _, p := range r.phases {
		at := func(share float64) string { return measure.FormatDuration(p.samples.Quantile(share)) }
		goal, _ := p.phase.goal.CompareWith(p.samples)
		if p.skipped != "" {
			goal = "skipped: " + p.skipped
		}
		fmt.Fprintf(out, "%-9s %6d %9s %9s %9s   %s\n", p.phase.name, p.samples.Count(), at(0.5), at(0.99), at(1), goal)
	}
	late, landed := r.sumLate()
	fmt.Fprintf(out, "\nsaves of an owner whose profile had another owner: %d tried (%d refused by a node, the rest by its own client), %d landed\n",
		late.Tried, late.Refused, landed)
}

// Faults are errors; goals that were missed count only if the run is strict.
func (r report) Faults() (faults []error) {
	for _, p := range r.phases {
		if p.landed() > 0 {
			faults = append(faults, fmt.Errorf("%s: %d saves of an owner whose profile had another owner landed", p.phase.name, p.landed()))
		}
		if p.fault != nil {
			faults = append(faults, fmt.Errorf("%s was not finished: %w", p.phase.name, p.fault))
		}
		if _, met := p.phase.goal.CompareWith(p.samples); r.strict && !met {
			faults = append(faults, fmt.Errorf("%s missed its goal", p.phase.name))
		}
	}
	return faults
}
