package sim

import (
	"sync"
	"time"
)

// clock is the clock of a machine: it runs fast or slow, is ahead or behind, and stands still while its process is stopped.
type clock struct {
	mu     sync.Mutex
	since  time.Time     // of the rate
	ahead  time.Duration // at since
	rate   float64
	frozen time.Time // zero: it runs
}

func newClock() *clock { return &clock{since: time.Now(), rate: 1} }

// now carries a monotonic reading, which runs at the same rate.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen
	}
	return c.readLocked()
}

func (c *clock) readLocked() time.Time {
	now := time.Now()
	return now.Add(c.ahead + time.Duration(float64(now.Sub(c.since))*(c.rate-1)))
}

// setSkew puts the clock off by so much at once, and lets it run at a rate from here on.
func (c *clock) setSkew(by time.Duration, rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.ahead = c.readLocked().Sub(now) + by
	c.since, c.rate = now, rate
}

func (c *clock) freezeClock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen.IsZero() {
		c.frozen = c.readLocked()
	}
}

func (c *clock) thawClock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = time.Time{}
}
