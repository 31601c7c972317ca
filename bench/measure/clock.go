package measure

import (
	"context"
	"time"
)

// Moment is a reading of this machine's monotonic clock in nanoseconds. It is one clock for all processes, and setting the
// wall clock does not move it.
type Moment int64

// Now reads the clock.
func Now() Moment { return Moment(readMonotonicClock()) }

// Since is the time from an earlier moment to this one.
func (m Moment) Since(earlier Moment) time.Duration { return time.Duration(m - earlier) }

// Sleep sleeps, and returns early when ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
