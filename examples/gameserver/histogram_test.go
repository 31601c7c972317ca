package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramIsRightToATenth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * float64(5*time.Millisecond))
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		got, want := h.Quantile(q), max(shortest, all[int(q*10_000)-1])
		if got < want-1 || float64(got) > float64(want)*growth*1.001 {
			t.Errorf("quantile %v: got %v, want %v and at most a tenth more", q, got, want)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("of nothing: got %v, want 0", got)
	}
	h.Add(0)
	if got := h.Quantile(0.5); got != shortest {
		t.Errorf("of 0: got %v, want %v", got, shortest)
	}
	h.Add(24 * time.Hour) // more than it can tell
	if got := h.Quantile(1); got < time.Minute {
		t.Errorf("of a day: got %v, want minutes", got)
	}
}

func TestHistogramMerge(t *testing.T) {
	var a, b, both Histogram
	for i := range 100 {
		d := time.Duration(i) * time.Millisecond
		both.Add(d)
		if i%2 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.Merge(&b)
	if a != both {
		t.Error("two halves merged are not the whole")
	}
}
