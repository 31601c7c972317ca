// Package report draws a chaos run: one HTML file that needs nothing beside it.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Run is what a report is of.
type Run struct {
	Header history.Header
	Events []history.Event
	Result *check.Result
	Pages  string // the folder of porcupine's pages, as seen from the report; empty: beside it
}

//go:embed report.html.tmpl
var files embed.FS

var page = template.Must(template.ParseFS(files, "report.html.tmpl"))

// mostViolations are listed. A store that is broken at all breaks thousands of guarantees, and nobody reads past the first.
const mostViolations = 200

// row is a line of a table.
type row struct {
	Name   string
	Values []string
	Bar    template.HTML // a picture of the values
}

// violation is a violation with its operations in words.
type violation struct {
	check.Violation
	Lines []string
	Link  string
}

// content is what the template shows.
type content struct {
	Header     history.Header
	Validity   check.Validity
	Started    string
	Length     time.Duration
	Settings   []row
	Violations []violation
	More       int // violations that are not listed
	Timeline   template.HTML
	Recoveries []row
	Outcomes   []row
	Facts      []row
}

// Write writes the report. It is well-formed as XML too.
func Write(w io.Writer, run Run) error {
	h, err := check.NewHistory(run.Header, run.Events, check.Options{})
	if err != nil {
		return err
	}
	s := &run.Result.Statistics
	c := content{
		Header: run.Header, Validity: run.Result.Validity, Started: run.Header.Started.Format(time.RFC3339), Length: s.Length.Round(time.Millisecond),
		Timeline: drawTimeline(h.Operations, h.Faults, s.Length),
	}
	for _, name := range slices.Sorted(maps.Keys(run.Header.Settings)) {
		c.Settings = append(c.Settings, row{Name: name, Values: []string{run.Header.Settings[name]}})
	}
	for i := range run.Result.Violations {
		if i == mostViolations {
			c.More = len(run.Result.Violations) - mostViolations
			break
		}
		v := violation{Violation: run.Result.Violations[i]}
		for k := range v.Operations {
			v.Lines = append(v.Lines, v.Operations[k].String())
		}
		if v.Page != "" {
			v.Link = path.Join(run.Pages, v.Page)
		}
		c.Violations = append(c.Violations, v)
	}
	c.Recoveries = recoveryRows(s)
	c.Outcomes = outcomeRows(s)
	c.Facts = factRows(s)
	return page.Execute(w, c)
}

func recoveryRows(s *check.Statistics) (rows []row) {
	most := time.Millisecond
	for i := range s.Recoveries {
		most = max(most, s.Recoveries[i].Quantile(1), s.Recoveries[i].Bound)
	}
	for i := range s.Recoveries {
		r := &s.Recoveries[i]
		bound := "none"
		if r.Bound > 0 {
			bound = r.Bound.String()
		}
		rows = append(rows, row{r.Fault, []string{
			fmt.Sprint(len(r.Times)), roundTime(r.Quantile(0.5)), roundTime(r.Quantile(1)), bound, fmt.Sprint(r.Disturbed), fmt.Sprint(r.Idle),
		}, drawTimes(r.Times, r.Bound, most)})
	}
	return rows
}

func outcomeRows(s *check.Statistics) (rows []row) {
	for _, action := range slices.Sorted(maps.Keys(s.Outcomes)) {
		o := s.Outcomes[action]
		all := o.OK + o.Fail + o.Unknown
		r := row{Name: string(action), Bar: drawShares(o)}
		for _, n := range []int{o.OK, o.Fail, o.Unknown} {
			r.Values = append(r.Values, fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(max(1, all))))
		}
		rows = append(rows, r)
	}
	return rows
}

func factRows(s *check.Statistics) []row {
	fact := func(name, format string, args ...any) row {
		return row{Name: name, Values: []string{fmt.Sprintf(format, args...)}}
	}
	rows := []row{
		fact("operations", "%d", s.Operations),
		fact("keys, sessions", "%d, %d", s.Keys, s.Sessions),
		fact("writes of unknown outcome", "%d, of which %d landed (%.0f %%)", s.UnknownWrites, s.LandedUnknown, 100*s.LandedShare()),
	}
	for _, name := range slices.Sorted(maps.Keys(s.Faults)) {
		rows = append(rows, fact("fault "+name, "%d times", s.Faults[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Skipped)) {
		rows = append(rows, fact("skipped "+name, "%s", s.Skipped[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Zombies)) {
		rows = append(rows, fact("raw writes refused, session lost by "+name, "%d", s.Zombies[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.DecidedBy)) {
		rows = append(rows, fact("keys decided by "+name, "%d", s.DecidedBy[name]))
	}
	return rows
}

// roundTime is a time with three digits or so.
func roundTime(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
