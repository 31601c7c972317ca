package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLongestGap(t *testing.T) {
	now := time.Unix(1000, 0)
	stats := NewStats(1, func() time.Time { return now })
	pass := func(d time.Duration) { now = now.Add(d) }

	pass(time.Hour) // before the first save there is no gap
	stats.Saved(1)
	pass(2 * time.Second)
	stats.Saved(3)
	pass(500 * time.Millisecond)
	got := stats.Second()
	if got.Gap != 0.5 || got.Longest != 2 || got.Saves != 4 {
		t.Errorf("got gap %v, longest %v, saves %d; want 0.5, 2, 4", got.Gap, got.Longest, got.Saves)
	}
	pass(3 * time.Second) // a gap that has not ended counts too
	got = stats.Second()
	if got.Gap != 3.5 || got.Longest != 3.5 || got.Saves != 0 {
		t.Errorf("got gap %v, longest %v, saves %d; want 3.5, 3.5, 0", got.Gap, got.Longest, got.Saves)
	}
}

func TestLatencyIsOfTheLastTenSeconds(t *testing.T) {
	now := time.Unix(1000, 0)
	stats := NewStats(1, func() time.Time { return now })
	stats.Took(time.Second)
	for i := range 10 {
		if got := stats.Second().P99; got < 1000 {
			t.Errorf("second %d: got %v ms, want a second", i, got)
		}
	}
	if got := stats.Second().P99; got != 0 {
		t.Errorf("after ten seconds: got %v ms, want 0", got)
	}
}

func TestSecondCountsSeats(t *testing.T) {
	stats := NewStats(4, time.Now)
	for seat, stand := range []Stand{Held, Held, InDoubt, Joining} {
		stats.Sit(seat, func() Stand { return stand })
	}
	stats.Sit(1, nil)
	got := stats.Second()
	if got.Held != 1 || got.InDoubt != 1 || got.Joining != 1 {
		t.Errorf("got %d held, %d in doubt, %d joining; want 1 of each", got.Held, got.InDoubt, got.Joining)
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		numbers []int
		want    string
	}{
		{nil, ""},
		{[]int{0, 0}, "  "},
		{[]int{0, 1, 50, 100}, " ▁▄█"},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8}, "▁▂▃▄▅▆▇█"},
	} {
		if got := sparkline(c.numbers); got != c.want {
			t.Errorf("%v: got %q, want %q", c.numbers, got, c.want)
		}
	}
}

func TestScreenIsDrawnOverItself(t *testing.T) {
	var out strings.Builder
	v := &screen{out: &out, name: "test", plain: true}
	second := Second{Seats: make([]Stand, 1000), Total: Counts{Errors: map[string]int{}}}
	v.Show(second)
	drawn := strings.Count(out.String(), "\n")
	if strings.Contains(out.String(), "\x1b[1A") || drawn != v.drawn {
		t.Errorf("the first picture has %d lines, %d counted, and must not go up", drawn, v.drawn)
	}
	out.Reset()
	second.Events = []Event{{Text: "in doubt"}}
	v.Show(second)
	if want := "\x1b[" + fmt.Sprint(drawn) + "A"; !strings.Contains(out.String(), want) {
		t.Errorf("the second picture does not go up %d lines", drawn)
	}
	if !strings.Contains(out.String(), "in doubt") || !strings.Contains(out.String(), "and 620 more") {
		t.Errorf("got %q", out.String())
	}
}
