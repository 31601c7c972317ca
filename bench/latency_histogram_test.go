package main

import (
	"testing"
	"time"
)

func TestSteps(t *testing.T) {
	for us := uint64(0); us < 1<<30; us += 1 + us/100 {
		at := bucketOf(us)
		if low, next := bucketStart(at), bucketStart(at+1); us < low || us >= next {
			t.Fatalf("%d us are counted from %d to below %d", us, low, next)
		}
		if low, next := bucketStart(at), bucketStart(at+1); next-low > 1 && float64(next-low) > 0.04*float64(low) {
			t.Fatalf("the step from %d to %d is wide", low, next)
		}
	}
}

func TestSpread(t *testing.T) {
	var s latencyHistogram
	if s.quantile(0.5) != 0 || s.figures() != (latencyFigures{}) {
		t.Errorf("nothing lies at %v", s.quantile(0.5))
	}
	for i := range 1000 {
		s.addSample(time.Duration(i+1) * time.Millisecond)
	}
	for _, want := range []struct {
		share float64
		at    time.Duration
	}{{0, time.Millisecond}, {0.5, 500 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}} {
		if got := s.quantile(want.share); got < want.at || float64(got) > 1.04*float64(want.at) {
			t.Errorf("%v of all stay within %v, want %v", want.share, got, want.at)
		}
	}
	if s.longest() != time.Second || s.figures().Mean != 500.5 {
		t.Errorf("longest %v, mean %v ms", s.longest(), s.figures().Mean)
	}
}

func TestMedian(t *testing.T) {
	if got := medianOf(nil); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	if got := medianOf([]float64{9, 1, 4}); got != 4 {
		t.Errorf("the median is %v, want 4", got)
	}
}
