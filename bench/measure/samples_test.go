package measure

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// upTo is 1 ms, 2 ms and so on, not in order.
func upTo(n int) *Samples {
	s := &Samples{}
	for i := n; i >= 1; i-- {
		s.Add(time.Duration(i) * time.Millisecond)
	}
	return s
}

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		n    int
		want Figures
	}{
		{0, Figures{}},
		{1, Figures{P50: 1, P99: 1, P999: 1, Max: 1, Mean: 1, N: 1}},
		{2, Figures{P50: 1, P99: 2, P999: 2, Max: 2, Mean: 1.5, N: 2}},
		{1000, Figures{P50: 500, P99: 990, P999: 999, Max: 1000, Mean: 500.5, N: 1000}},
	} {
		got := upTo(c.n).Figures()
		got.Mean = math.Round(got.Mean*1000) / 1000
		if got != c.want {
			t.Errorf("figures of %d samples: got %+v, want %+v", c.n, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := Median(); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	if got := Median(9, 1, 4); got != 4 {
		t.Errorf("the median is %v, want 4", got)
	}
}

func TestGoal(t *testing.T) {
	g := Goal{P50: 51 * time.Millisecond, Max: 100 * time.Millisecond}
	for _, c := range []struct {
		n    int
		want string
		met  bool
	}{
		{99, "p50 under 51ms: met, max under 100ms: met", true},
		{100, "p50 under 51ms: met, max under 100ms: MISSED", false},
		{102, "p50 under 51ms: MISSED, max under 100ms: MISSED", false},
		{0, "p50 under 51ms: not measured, max under 100ms: not measured", false},
	} {
		if got, met := g.CompareWith(upTo(c.n)); got != c.want || met != c.met {
			t.Errorf("%d samples: got %q, %v, want %q, %v", c.n, got, met, c.want, c.met)
		}
	}
}

type testReport struct{ Value int }

func (r testReport) Print(out io.Writer) { fmt.Fprintln(out, "seven") }

func (r testReport) Faults() []error { return []error{nil, errors.New("too late")} }

func TestWriteReport(t *testing.T) {
	for asJSON, want := range map[bool]string{true: "{\"Value\":7}\n", false: "seven\n"} {
		var out strings.Builder
		if err := WriteReport(&out, asJSON, testReport{7}); err == nil || err.Error() != "too late" {
			t.Errorf("got %v, want the report's fault", err)
		}
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 251 * time.Microsecond: "250µs", 4 * time.Millisecond: "4ms", 312345 * time.Microsecond: "312ms", 1504 * time.Millisecond: "1.5s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	before := Now()
	began := time.Now()
	time.Sleep(2 * time.Millisecond)
	passed := time.Since(began)
	if got := Now().Since(before); got < passed {
		t.Errorf("it went on by %v while %v passed", got, passed)
	}
}
