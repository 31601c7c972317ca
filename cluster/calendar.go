package cluster

import (
	"fmt"
	"sync"
	"time"
)

const (
	calendarTick    = time.Minute
	calendarTicks   = 60          // ticks that make the hour
	calendarMinJump = time.Minute // stamps that move by so much more than the time that ran: downtime, or clocks that were set
)

// calendar says which times are long enough ago, for one lead. Stamps alone cannot: a cluster that was down for a week, or
// whose clocks were set forward, would at once forget answers that clients still ask for. So an hour is one that this lead
// ran, in ticks, since a stopped process and a sleeping machine miss theirs; an hour old is everything stamped before the
// oldest of them. It is in memory alone: a new lead begins its hour again, which keeps things for longer and never for less,
// and needs no row that all must agree on. How many revisions a profile keeps is a count, and waits for nothing.
type calendar struct {
	mu             sync.Mutex
	tickStamps     [calendarTicks + 1]int64 // Unix milliseconds, at the last ticks
	ticksSinceJump int                      // since the lead began, or a jump's hour did
	tickCount      int
	lastTick       time.Time     // of the last one
	jump           time.Duration // the last jump; 0: none within the hour
	jumpFrom       int64         // the stamp before it
	clocksSet      bool          // it was longer than the time that went by
}

// startCalendar takes the stamp that the log had, and how long it may have stood still. A jump that is no longer than that is
// merely a time in which there was no leader.
func (c *calendar) startCalendar(logMS, nowMS int64, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tickStamps[0] = nowMS
	c.tickCount, c.lastTick = 1, time.Now()
	if gap := time.Duration(nowMS-logMS) * time.Millisecond; logMS > 0 && min(gap, idle) > calendarMinJump {
		c.jump, c.jumpFrom, c.clocksSet = gap, logMS, gap-idle > calendarMinJump
	}
}

// noteTime is told the time once a minute, by the goroutine that uses the calendar.
func (c *calendar) noteTime(nowMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.tickStamps[(c.tickCount-1)%len(c.tickStamps)]
	c.tickStamps[c.tickCount%len(c.tickStamps)] = nowMS
	c.tickCount++
	c.ticksSinceJump++
	ran := time.Since(c.lastTick)
	c.lastTick = time.Now()
	moved := time.Duration(nowMS-last) * time.Millisecond
	if gap := moved - calendarTick; gap > calendarMinJump {
		c.jump, c.jumpFrom, c.ticksSinceJump, c.clocksSet = gap, last, 0, moved-ran > calendarMinJump
	}
}

// hourAgo is the stamp of an hour of running ago; ok is false while this lead has not run for one.
func (c *calendar) hourAgo() (stampMS int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tickCount < len(c.tickStamps) {
		return 0, false
	}
	return c.tickStamps[c.tickCount%len(c.tickStamps)], true
}

// alarms tell of a jump until an hour has run since: a notice that there was no leader, or an alarm that clocks were set.
func (c *calendar) alarms() []Alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jump == 0 || c.ticksSinceJump >= calendarTicks {
		return nil
	}
	a := Alarm{Code: NoticeDown}
	why := "the cluster was down, stopped or without a leader, which needs nothing"
	if c.clocksSet {
		a.Code, why = AlarmClocksSet, "the clocks of most nodes were set, or their machines slept: look at their time service"
	}
	a.Text = fmt.Sprintf("the time of the cluster moved by %v at once, from %s: %s; what is due by time waits for %v more",
		c.jump.Round(time.Second), time.UnixMilli(c.jumpFrom).UTC().Format(time.RFC3339), why, time.Duration(calendarTicks-c.ticksSinceJump)*calendarTick)
	return []Alarm{a}
}
