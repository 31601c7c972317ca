package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is the result of a benchmark.
type Report interface {
	Print(out io.Writer)
	// Faults are the goals that were missed, and faults of the measurement that make its figures worthless.
	Faults() []error
}

// WriteReport writes a report, as JSON or for people. The error joins the report's faults.
func WriteReport(out io.Writer, asJSON bool, r Report) (err error) {
	if asJSON {
		err = json.NewEncoder(out).Encode(r)
	} else {
		r.Print(out)
	}
	return errors.Join(append(r.Faults(), err)...)
}

// Goal is a limit that samples are to stay below. 0: there is none.
type Goal struct{ P50, P99, Max time.Duration }

// CompareWith says of each part of the goal whether it is met, and whether all are. Without samples none is.
func (g Goal) CompareWith(s *Samples) (sentence string, met bool) {
	met = s.Count() > 0
	var parts []string
	for _, part := range []struct {
		name  string
		limit time.Duration
		share float64
	}{{"p50", g.P50, 0.5}, {"p99", g.P99, 0.99}, {"max", g.Max, 1}} {
		if part.limit == 0 {
			continue
		}
		word := "not measured"
		switch {
		case s.Count() == 0:
		case s.Quantile(part.share) < part.limit:
			word = "met"
		default:
			word, met = "MISSED", false
		}
		parts = append(parts, fmt.Sprintf("%s under %s: %s", part.name, FormatDuration(part.limit), word))
	}
	return strings.Join(parts, ", "), met
}
