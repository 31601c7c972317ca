package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// monotonicTime is a reading of this machine's monotonic clock in nanoseconds: the same clock for every process here, which no
// wall clock that is set can move.
type monotonicTime int64

func monotonicNow() monotonicTime { return monotonicTime(readMonotonicClock()) }

func (m monotonicTime) since(earlier monotonicTime) time.Duration { return time.Duration(m - earlier) }

// durationSamples are times, each as it was measured.
type durationSamples []time.Duration

// quantile is the smallest sample that at least this share of all stays within; 0 if there are none.
func (s durationSamples) quantile(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// quantileFigures are what a phase's samples come to, in milliseconds.
type quantileFigures struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	N   int     `json:"n"`
}

func (s durationSamples) figures() quantileFigures {
	return quantileFigures{P50: toMillis(s.quantile(0.5)), P99: toMillis(s.quantile(0.99)), Max: toMillis(s.quantile(1)), N: len(s)}
}

// latencyGoal is what a phase is to stay below. 0: nothing is asked.
type latencyGoal struct{ p50, p99, max time.Duration }

// compareWith says of each part of the goal whether it is met, and whether all are. Without samples nothing is.
func (g latencyGoal) compareWith(s durationSamples) (sentence string, met bool) {
	met = len(s) > 0
	var parts []string
	for _, part := range []struct {
		name  string
		limit time.Duration
		share float64
	}{{"p50", g.p50, 0.5}, {"p99", g.p99, 0.99}, {"max", g.max, 1}} {
		if part.limit == 0 {
			continue
		}
		word := "not measured"
		switch {
		case len(s) == 0:
		case s.quantile(part.share) < part.limit:
			word = "met"
		default:
			word, met = "MISSED", false
		}
		parts = append(parts, fmt.Sprintf("%s under %s: %s", part.name, formatBrief(part.limit), word))
	}
	return strings.Join(parts, ", "), met
}

// formatBrief is a time in three digits or so.
func formatBrief(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 10*time.Millisecond:
		return formatTrimmed(float64(d)/float64(time.Millisecond), 2) + " ms"
	case d < time.Second:
		return formatTrimmed(float64(d)/float64(time.Millisecond), 0) + " ms"
	}
	return formatTrimmed(d.Seconds(), 2) + " s"
}

func formatTrimmed(value float64, digits int) string {
	text := fmt.Sprintf("%.*f", digits, value)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
