package main

import (
	"testing"
	"time"
)

func upTo(n int) (s durationSamples) {
	for i := n; i >= 1; i-- { // not in order
		s = append(s, time.Duration(i)*time.Millisecond)
	}
	return s
}

func TestSamples(t *testing.T) {
	for _, c := range []struct {
		s             durationSamples
		p50, p99, max time.Duration
	}{
		{nil, 0, 0, 0},
		{upTo(1), 1 * time.Millisecond, 1 * time.Millisecond, 1 * time.Millisecond},
		{upTo(2), 1 * time.Millisecond, 2 * time.Millisecond, 2 * time.Millisecond},
		{upTo(100), 50 * time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond},
		{upTo(1000), 500 * time.Millisecond, 990 * time.Millisecond, 1000 * time.Millisecond},
	} {
		if p50, p99, most := c.s.quantile(0.5), c.s.quantile(0.99), c.s.quantile(1); p50 != c.p50 || p99 != c.p99 || most != c.max {
			t.Errorf("%d samples: got p50 %v, p99 %v, max %v, want %v, %v, %v", len(c.s), p50, p99, most, c.p50, c.p99, c.max)
		}
		if got, want := c.s.figures(), (quantileFigures{toMillis(c.p50), toMillis(c.p99), toMillis(c.max), len(c.s)}); got != want {
			t.Errorf("figures of %d samples: got %v, want %v", len(c.s), got, want)
		}
	}
}

func TestGoal(t *testing.T) {
	g := latencyGoal{p50: 51 * time.Millisecond, max: 100 * time.Millisecond}
	for _, c := range []struct {
		s    durationSamples
		want string
		met  bool
	}{
		{upTo(99), "p50 under 51 ms: met, max under 100 ms: met", true},
		{upTo(100), "p50 under 51 ms: met, max under 100 ms: MISSED", false},
		{upTo(102), "p50 under 51 ms: MISSED, max under 100 ms: MISSED", false},
		{nil, "p50 under 51 ms: not measured, max under 100 ms: not measured", false},
	} {
		if got, met := g.compareWith(c.s); got != c.want || met != c.met {
			t.Errorf("%d samples: got %q, %v, want %q, %v", len(c.s), got, met, c.want, c.met)
		}
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 250 * time.Microsecond: "0.25 ms", 4 * time.Millisecond: "4 ms", 312345 * time.Microsecond: "312 ms",
		1500 * time.Millisecond: "1.5 s", 12 * time.Second: "12 s", 200 * time.Millisecond: "200 ms",
	} {
		if got := formatBrief(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	before := monotonicNow()
	began := time.Now()
	time.Sleep(2 * time.Millisecond)
	passed := time.Since(began)
	if got := monotonicNow().since(before); got < passed {
		t.Errorf("it went on by %v while %v passed", got, passed)
	}
}
