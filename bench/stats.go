package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// moment is a reading of this machine's monotonic clock in nanoseconds: the same clock for every process here, which no
// wall clock that is set can move.
type moment int64

func thisMoment() moment { return moment(readMonotonicClock()) }

func (m moment) since(earlier moment) time.Duration { return time.Duration(m - earlier) }

// samples are times, each as it was measured.
type samples []time.Duration

// at is the smallest sample that at least this share of all stays within; 0 if there are none.
func (s samples) at(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// figures are what a phase's samples come to, in milliseconds.
type figures struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	N   int     `json:"n"`
}

func (s samples) figures() figures {
	return figures{P50: ms(s.at(0.5)), P99: ms(s.at(0.99)), Max: ms(s.at(1)), N: len(s)}
}

// goal is what a phase is to stay below. 0: nothing is asked.
type goal struct{ p50, p99, max time.Duration }

// against says of each part of the goal whether it is met, and whether all are. Without samples nothing is.
func (g goal) against(s samples) (sentence string, met bool) {
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
		case s.at(part.share) < part.limit:
			word = "met"
		default:
			word, met = "MISSED", false
		}
		parts = append(parts, fmt.Sprintf("%s under %s: %s", part.name, brief(part.limit), word))
	}
	return strings.Join(parts, ", "), met
}

// brief is a time in three digits or so.
func brief(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 10*time.Millisecond:
		return trimmed(float64(d)/float64(time.Millisecond), 2) + " ms"
	case d < time.Second:
		return trimmed(float64(d)/float64(time.Millisecond), 0) + " ms"
	}
	return trimmed(d.Seconds(), 2) + " s"
}

func trimmed(value float64, digits int) string {
	text := fmt.Sprintf("%.*f", digits, value)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
