package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/report"
)

var out = flag.String("out", "", "write the report of the test's run to this file, to look at it")

// run is a run of two minutes with three kinds of faults, of which each makes operations slow.
func run(t *testing.T) report.Run {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var events []history.Event
	add := func(e history.Event) { events = append(events, e) }
	slow := func(at time.Duration) bool { return at%(30*time.Second) < 6*time.Second }
	fault := func(from, to time.Duration, name, node string) {
		add(history.Event{Time: from, Type: history.Info, Action: history.Fault, Name: name, Node: node, Phase: history.Begin, Detail: "<1 of 3>"})
		if to > 0 {
			add(history.Event{Time: to, Type: history.Info, Action: history.Fault, Name: name, Node: node, Phase: history.Heal})
		}
	}
	fault(30*time.Second, 36*time.Second, "kill", "n1")
	fault(60*time.Second, 66*time.Second, "partition halves", "")
	fault(90*time.Second, 96*time.Second, "clock jump", "n2")
	fault(118*time.Second, 0, "kill", "n3")
	add(history.Event{Time: time.Second, Type: history.Info, Action: history.Fault, Name: "netem", Phase: history.Skipped, Detail: "not in this kernel"})
	revision := int64(0)
	for i := range 6000 {
		at := time.Duration(i) * 20 * time.Millisecond
		process := fmt.Sprintf("g%d", i%3)
		e := history.Event{Time: at, Type: history.Invoke, Process: process, Op: uint64(i), Action: history.Set, Key: "p<1>", Expected: history.AnyRevision, Doc: &history.Doc{Writer: fmt.Sprint("w", i), Seq: 1}}
		if i%50 == 0 {
			e.Action, e.Session, e.Doc = history.Start, fmt.Sprint("s", i), nil
		}
		add(e)
		e.Type, e.Time = history.Fail, at+time.Duration(1+r.IntN(15))*time.Millisecond
		switch {
		case slow(at) && i%7 == 0:
			e.Type = history.Info
		case e.Action == history.Set && i%11 > 0:
			revision++
			e.Type, e.Revision = history.OK, revision
			if slow(at) {
				e.Time = at + time.Duration(100+r.IntN(900))*time.Millisecond
			}
		}
		e.Doc = nil
		add(e)
	}
	header := history.Header{
		Seed: 42, Commit: "abc<def>", Environment: "linux, 2 processors", Scenario: "mixed & more", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Settings: map[string]string{"nodes": "5"},
	}
	result, err := check.Check(header, events, check.Options{Minimum: check.Minimum{Operations: 10_000}, TimePerKey: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	result.Statistics.Recoveries = []check.Recovery{{Fault: "kill", Times: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, Bound: 5 * time.Second, Idle: 1}}
	result.Violations = append(result.Violations, check.Violation{
		Checker: "linearizability", Invariant: "I1", Key: "p<1>", Text: "no order", Page: "porcupine-p_1_.html", Operations: []history.Operation{{Invocation: events[20]}},
	})
	return report.Run{Header: header, Events: events, Result: result, Pages: "pages"}
}

// element is what the tests look at of an element.
type element struct {
	name, text string
	attributes map[string]string
}

// parse reads the report as XML, which refuses what is not well-formed.
func parse(t *testing.T, page []byte) (all []element) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	var open []int
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch v := token.(type) {
		case xml.StartElement:
			e := element{name: v.Name.Local, attributes: map[string]string{}}
			for _, a := range v.Attr {
				e.attributes[a.Name.Local] = a.Value
			}
			open = append(open, len(all))
			all = append(all, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				all[open[len(open)-1]].text += string(v)
			}
		}
	}
}

func TestReport(t *testing.T) {
	r := run(t)
	var page bytes.Buffer
	if err := report.Write(&page, r); err != nil {
		t.Fatal(err)
	}
	if *out != "" {
		if err := os.WriteFile(*out, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := parse(t, page.Bytes())
	counts := map[string]int{}
	var text strings.Builder
	for _, e := range all {
		counts[strings.TrimSpace(e.name+" "+e.attributes["class"])]++
		text.WriteString(e.text + "\n")
		for _, name := range []string{"src", "href"} {
			if v := e.attributes[name]; strings.Contains(v, "//") {
				t.Errorf("%s loads %s: the file is not on its own", e.name, v)
			}
		}
		if e.name == "a" && e.attributes["href"] != "pages/porcupine-p_1_.html" {
			t.Errorf("the link to porcupine's page is %q", e.attributes["href"])
		}
	}
	if counts["script"] > 0 || counts["link"] > 0 {
		t.Error("the report has scripts or style sheets of elsewhere")
	}
	if counts["rect fault"] != 4 || counts["polyline"] < 2 || counts["a"] != 1 || counts["circle"] != 3 {
		t.Errorf("elements %v: want 4 faults, 2 curves, 1 link, 3 recoveries", counts)
	}
	for _, want := range []string{
		"invalid", "mixed & more", "abc<def>", "6000 operations, where a run needs 10000", "no order", "porcupine's page", "p<1>", "partition halves",
		"kill n1 <1 of 3>, from 30s, to 36s", "never healed", "not in this kernel", "p50", "p99", "4s", "seed", "operations a second",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if result := strings.Index(page.String(), `class="result invalid"`); result < 0 || result > strings.Index(page.String(), "<svg") {
		t.Error("the result does not come first")
	}
}

func TestAnEmptyRunAndManyViolations(t *testing.T) {
	result, err := check.Check(history.Header{}, nil, check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		result.Violations = append(result.Violations, check.Violation{Checker: "owners", Text: "two"})
	}
	var page bytes.Buffer
	if err := report.Write(&page, report.Run{Result: result}); err != nil {
		t.Fatal(err)
	}
	parse(t, page.Bytes())
	if n := strings.Count(page.String(), "<li>"); n != 200 || !strings.Contains(page.String(), "800 more") {
		t.Errorf("%d of 1000 violations are listed, and the rest is not counted", n)
	}
	if strings.Contains(page.String(), "NaN") || strings.Contains(page.String(), "Inf") {
		t.Error("a number could not be computed")
	}
}

func TestALongRun(t *testing.T) {
	day := 24 * time.Hour
	events := []history.Event{
		{Time: time.Second, Type: history.Invoke, Process: "g1", Op: 1, Action: history.Get, Key: "p"},
		{Time: day, Type: history.OK, Process: "g1", Op: 1, Action: history.Get, Key: "p"},
	}
	result, err := check.Check(history.Header{}, events, check.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := report.Write(&page, report.Run{Events: events, Result: result}); err != nil {
		t.Fatal(err)
	}
	if elements := len(parse(t, page.Bytes())); elements > 3000 {
		t.Errorf("%d elements for one operation", elements)
	}
}
