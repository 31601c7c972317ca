// Package measure has the figures of the benchmarks: durations and their quantiles (samples.go), goals and reports
// (report.go), the one clock of all processes (clock.go), the machine (machine.go), and the processor time, memory and disk
// of a process (usage.go). format.go writes times and sizes for people.
package measure

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// Samples are durations, each as it was measured. Any goroutine may add.
type Samples struct {
	mu  sync.Mutex
	all []time.Duration
}

// SamplesOf makes samples of durations.
func SamplesOf(all ...time.Duration) *Samples { return &Samples{all: slices.Clone(all)} }

// Add adds durations.
func (s *Samples) Add(all ...time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, all...)
}

// All are the durations, in any order.
func (s *Samples) All() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// Count is the number of durations.
func (s *Samples) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Quantile is the smallest sample that at least this share of all stays within; 0 if there are none.
func (s *Samples) Quantile(share float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.all)
	return quantileOf(s.all, share)
}

// Figures are samples in milliseconds.
type Figures struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
	N    int     `json:"n"`
}

// Figures sums the samples up.
func (s *Samples) Figures() Figures {
	f := Figures{
		P50: Millis(s.Quantile(0.5)), P99: Millis(s.Quantile(0.99)), P999: Millis(s.Quantile(0.999)), Max: Millis(s.Quantile(1)), N: s.Count(),
	}
	for _, d := range s.All() {
		f.Mean += Millis(d) / float64(f.N)
	}
	return f
}

// Median is the quantile 0.5 of numbers; 0 if there are none.
func Median(all ...float64) float64 {
	slices.Sort(all)
	return quantileOf(all, 0.5)
}

func quantileOf[T cmp.Ordered](sorted []T, share float64) (q T) {
	if len(sorted) == 0 {
		return q
	}
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}
