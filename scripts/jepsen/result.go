//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
)

// scenarioResult is the result of one scenario.
type scenarioResult struct {
	Scenario string            `json:"scenario"`
	Validity check.Validity    `json:"validity"`
	Failures []string          `json:"failures,omitempty"` // beside the violations
	Faults   map[string]int    `json:"faults,omitempty"`   // injected, by nemesis
	Effects  map[string]uint64 `json:"effects,omitempty"`
	Skipped  []string          `json:"skipped,omitempty"`
	Seconds  int               `json:"seconds"`
	Folder   string            `json:"folder"`
	Checked  *check.Result     `json:"checked,omitempty"`
}

// runResult is the result of all scenarios of a run.
type runResult struct {
	Seed        uint64            `json:"seed"`
	Commit      string            `json:"commit"`
	Environment string            `json:"environment"`
	Folder      string            `json:"folder"`
	Skipped     map[string]string `json:"skipped,omitempty"` // what this machine cannot do, and why
	Scenarios   []*scenarioResult `json:"scenarios"`
	Valid       bool              `json:"valid"`
}

func (r *scenarioResult) countFault(name string) {
	if r.Faults == nil {
		r.Faults = map[string]int{}
	}
	r.Faults[name]++
}

// writeLine says in a few lines how a scenario went.
func (r *scenarioResult) writeLine(w io.Writer) {
	faults := 0
	for _, count := range r.Faults {
		faults += count
	}
	fmt.Fprintf(w, "%s: %s, %d faults, %d s\n", r.Scenario, r.Validity, faults, r.Seconds)
	for _, f := range r.Failures {
		fmt.Fprintf(w, "  %s\n", f)
	}
	if r.Checked != nil {
		r.Checked.WriteText(indented{w})
	}
}

// firstFault is the first reason for which the scenario is not valid.
func (r *scenarioResult) firstFault() string {
	if r.Checked != nil && len(r.Checked.Violations) > 0 {
		text, _, _ := strings.Cut(r.Checked.Violations[0].String(), "\n")
		return text
	}
	if len(r.Failures) > 0 {
		text, _, _ := strings.Cut(r.Failures[0], "\n")
		return text
	}
	return ""
}

// indented writes lines a little to the right.
type indented struct{ w io.Writer }

func (i indented) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if _, err := fmt.Fprint(i.w, "  ", line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (r *runResult) isValid(requireAll bool) bool {
	if requireAll && len(r.Skipped) > 0 {
		return false
	}
	return !slices.ContainsFunc(r.Scenarios, func(s *scenarioResult) bool {
		return s.Validity != check.Valid || requireAll && len(s.Skipped) > 0
	})
}

func (r *runResult) write(out io.Writer, asJSON, requireAll bool) error {
	if asJSON {
		if err := writeJSON(out, r); err != nil {
			return err
		}
	} else {
		for _, s := range r.Scenarios {
			fmt.Fprintf(out, "%-8s %s\n", s.Validity, s.Scenario)
		}
		for _, what := range slices.Sorted(maps.Keys(r.Skipped)) {
			fmt.Fprintf(out, "skipped  %s: %s\n", what, r.Skipped[what])
		}
		word := "valid"
		if !r.Valid {
			word = "NOT VALID"
		}
		fmt.Fprintf(out, "%s; seed %d, commit %s, everything in %s\n", word, r.Seed, r.Commit, r.Folder)
	}
	if !r.Valid {
		return errFailed
	}
	return nil
}
