package main

import (
	"math"
	"time"
)

const (
	shortest = 10 * time.Microsecond // all that is shorter counts as this
	growth   = 1.1                   // a quantile is at most so much too high
	buckets  = 180                   // up to four minutes
)

// Histogram counts durations. Its quantiles are right to a tenth, whatever the number of durations.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
}

func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Quantile is a duration that the share q of all durations does not exceed; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := uint64(math.Ceil(q * float64(h.total)))
	seen := uint64(0)
	for i, n := range h.counts {
		seen += n
		if seen >= want && seen > 0 {
			return time.Duration(float64(shortest) * math.Pow(growth, float64(i)))
		}
	}
	return 0
}

// bucket i holds what is longer than shortest*growth^(i-1), up to and with shortest*growth^i.
func bucket(d time.Duration) int {
	if d <= shortest {
		return 0
	}
	i := math.Ceil(math.Log(float64(d)/float64(shortest)) / math.Log(growth))
	return int(min(i, buckets-1))
}
