package cluster

import (
	"fmt"
	"sync"
	"time"
)

const (
	calendarTick = time.Minute
	calendarKeep = 60          // ticks that make the hour
	calendarJump = time.Minute // stamps that move by so much more than the time that ran: downtime, or clocks that were set
)

// calendar says what is long enough ago, for one lead. Stamps alone cannot: a cluster that was down for a week, or whose
// clocks were set forward, would at once forget what everybody still asks for. So an hour is one that this lead ran, in
// ticks, since a stopped process and a sleeping machine miss theirs; what is an hour old is what was stamped before the
// oldest of them. It is in memory alone: a new lead begins its hour anew, which keeps things for longer and never for
// less, and needs no row that all must agree on. How many revisions a profile keeps is a count, and waits for nothing.
type calendar struct {
	mu     sync.Mutex
	stamps [calendarKeep + 1]int64 // Unix milliseconds, at the last ticks
	ticks  int                     // since the lead began, or a jump's hour did
	total  int
	jumped time.Duration // the last jump; 0: none within the hour
	at     int64         // the stamp before it
}

// begin takes the stamp that the log had, and how long it may have stood still.
func (c *calendar) begin(logMS, nowMS int64, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stamps[0] = nowMS
	c.total = 1
	if gap := time.Duration(nowMS-logMS) * time.Millisecond; logMS > 0 && min(gap, idle) > calendarJump {
		c.jumped, c.at = gap, logMS
	}
}

// tick is told the time once a minute, by whoever acts with the calendar.
func (c *calendar) tick(nowMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.stamps[(c.total-1)%len(c.stamps)]
	c.stamps[c.total%len(c.stamps)] = nowMS
	c.total++
	c.ticks++
	if gap := time.Duration(nowMS-last)*time.Millisecond - calendarTick; gap > calendarJump {
		c.jumped, c.at, c.ticks = gap, last, 0
	}
}

// hourAgo is the stamp of an hour of running ago; ok is false while this lead has not run for one.
func (c *calendar) hourAgo() (stampMS int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total < len(c.stamps) {
		return 0, false
	}
	return c.stamps[c.total%len(c.stamps)], true
}

// alarms tell of a jump until an hour has run since.
func (c *calendar) alarms() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jumped == 0 || c.ticks >= calendarKeep {
		return nil
	}
	return []string{fmt.Sprintf("the time of the cluster moved by %v at once, from %s: it was down, or clocks were set; what is due by time waits for %v more",
		c.jumped.Round(time.Second), time.UnixMilli(c.at).UTC().Format(time.RFC3339), time.Duration(calendarKeep-c.ticks)*calendarTick)}
}
