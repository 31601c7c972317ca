package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencyHistogram is how a number of times lie, in steps of about 3 %. Any goroutine may add.
type latencyHistogram struct {
	steps [steps]atomic.Uint64
	count atomic.Uint64
	sum   atomic.Uint64 // microseconds
	most  atomic.Uint64 // microseconds
}

const (
	fine  = 32 // steps for each doubling
	steps = 40 * fine
)

// bucketOf is where a number of microseconds is counted.
func bucketOf(us uint64) int {
	if us < fine {
		return int(us)
	}
	double := bits.Len64(us) - bits.Len64(fine) // 0 for [fine, 2 fine)
	return min((double+1)*fine+int(us>>double)-fine, steps-1)
}

// bucketStart is the smallest number of microseconds that is counted at a step.
func bucketStart(step int) uint64 {
	if step < fine {
		return uint64(step)
	}
	double := step/fine - 1
	return uint64(step%fine+fine) << double
}

func (s *latencyHistogram) addSample(d time.Duration) {
	us := uint64(max(d.Microseconds(), 0))
	s.steps[bucketOf(us)].Add(1)
	s.count.Add(1)
	s.sum.Add(us)
	for {
		most := s.most.Load()
		if us <= most || s.most.CompareAndSwap(most, us) {
			return
		}
	}
}

// quantile is the time that this share of all stays within.
func (s *latencyHistogram) quantile(share float64) time.Duration {
	count := s.count.Load()
	if count == 0 {
		return 0
	}
	want, seen := uint64(share*float64(count)), uint64(0)
	for i := range s.steps {
		if seen += s.steps[i].Load(); seen > want {
			return min(time.Duration(bucketStart(i+1)-1)*time.Microsecond, s.longest())
		}
	}
	return s.longest()
}

func (s *latencyHistogram) longest() time.Duration {
	return time.Duration(s.most.Load()) * time.Microsecond
}

// latencyFigures is a spread in figures, milliseconds.
type latencyFigures struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func (s *latencyHistogram) figures() latencyFigures {
	t := latencyFigures{Count: s.count.Load(), P50: toMillis(s.quantile(0.5)), P99: toMillis(s.quantile(0.99)), P999: toMillis(s.quantile(0.999)), Max: toMillis(s.longest())}
	if t.Count > 0 {
		t.Mean = float64(s.sum.Load()) / 1000 / float64(t.Count)
	}
	return t
}

func toMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
