package main

import (
	"testing"
	"time"
)

func TestSteps(t *testing.T) {
	for us := uint64(0); us < 1<<30; us += 1 + us/100 {
		at := step(us)
		if low, next := least(at), least(at+1); us < low || us >= next {
			t.Fatalf("%d us are counted from %d to below %d", us, low, next)
		}
		if low, next := least(at), least(at+1); next-low > 1 && float64(next-low) > 0.04*float64(low) {
			t.Fatalf("the step from %d to %d is wide", low, next)
		}
	}
}

func TestSpread(t *testing.T) {
	var s spread
	if s.at(0.5) != 0 || s.times() != (times{}) {
		t.Errorf("nothing lies at %v", s.at(0.5))
	}
	for i := range 1000 {
		s.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, want := range []struct {
		share float64
		at    time.Duration
	}{{0, time.Millisecond}, {0.5, 500 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}} {
		if got := s.at(want.share); got < want.at || float64(got) > 1.04*float64(want.at) {
			t.Errorf("%v of all stay within %v, want %v", want.share, got, want.at)
		}
	}
	if s.max() != time.Second || s.times().Mean != 500.5 {
		t.Errorf("longest %v, mean %v ms", s.max(), s.times().Mean)
	}
}

func TestMedian(t *testing.T) {
	if got := median(nil); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	if got := median([]float64{9, 1, 4}); got != 4 {
		t.Errorf("the median is %v, want 4", got)
	}
}
