package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/profilenode/profilenode/fsm"
)

const (
	calendarTick    = time.Minute
	calendarTicks   = 60  // ticks in the hour for which ended incarnations and their answers are kept
	forgetStep      = 256 // incarnations that one ForgetEnded command deletes
	forgetSteps     = 4   // ForgetEnded commands each time
	forgetPeriod    = 10 * time.Second
	calendarMinJump = time.Minute // how much further than the running time the timestamps must move to count as a jump
)

// calendar decides, for one leadership, which timestamps are more than an hour of running time ago. Timestamps alone
// cannot tell: a cluster that was down for a week, or whose clocks were set forward, would at once forget answers that
// clients still ask for. So an hour is counted in ticks that this leader ran; a stopped process and a sleeping machine
// miss theirs. Everything with a timestamp before the oldest of these ticks is an hour old.
//
// The calendar is in memory alone. A new leader begins its hour again, so that data is kept for longer and never for
// less, and no row is needed that all nodes must agree on. The number of kept revisions of a profile is a count and does
// not depend on this.
type calendar struct {
	mu             sync.Mutex
	tickStamps     [calendarTicks + 1]int64 // timestamps at the last ticks, in Unix milliseconds; a ring
	ticksSinceJump int                      // since the last jump, or since the leadership began
	tickCount      int
	lastTick       time.Time     // when the last tick ran
	jump           time.Duration // how far the timestamps jumped last; 0: not within the hour
	jumpFrom       int64         // the timestamp before the jump, in Unix milliseconds
	clocksSet      bool          // the jump was longer than the time that passed: clocks were set, it was not only downtime
}

// startCalendar takes the log's last timestamp, the present one, and how long there may have been no leader. A jump that
// is no longer than idle is downtime.
func (c *calendar) startCalendar(logMS, nowMS int64, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tickStamps[0] = nowMS
	c.tickCount, c.lastTick = 1, time.Now()
	if gap := time.Duration(nowMS-logMS) * time.Millisecond; logMS > 0 && min(gap, idle) > calendarMinJump {
		c.jump, c.jumpFrom, c.clocksSet = gap, logMS, gap-idle > calendarMinJump
	}
}

// noteTime records a tick. The goroutine that uses the calendar calls it once a minute with the present timestamp.
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

// hourAgo returns the timestamp of an hour of running time ago. ok is false while this leader has not run for an hour.
func (c *calendar) hourAgo() (stampMS int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tickCount < len(c.tickStamps) {
		return 0, false
	}
	return c.tickStamps[c.tickCount%len(c.tickStamps)], true
}

// alarms reports a jump until an hour has run since: as a notice if the cluster had no leader, as an alarm if clocks were
// set.
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

// tendCalendar counts the minutes of one leadership, and forgets the incarnations that ended long ago, until it ends.
func (l *leaderState) tendCalendar() {
	forget := time.NewTicker(forgetPeriod)
	defer forget.Stop()
	minute := time.NewTicker(calendarTick)
	defer minute.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-minute.C:
			l.calendar.noteTime(l.clock.nextTimestamp())
		case <-forget.C:
			l.forgetGone()
		}
	}
}

// forgetGone deletes the rows of incarnations that ended more than an hour of running time ago.
func (l *leaderState) forgetGone() {
	before, ok := l.calendar.hourAgo()
	if !ok {
		return
	}
	for range forgetSteps {
		view, err := l.node.tables.OpenView()
		if err != nil {
			return
		}
		due, err := view.GoneBefore(before)
		view.Close()
		if err != nil || !due {
			return
		}
		result, err := l.proposePatiently(l.ctx, fsm.NewCommand(nil, &fsm.ForgetEnded{BeforeMs: before, Limit: forgetStep}))
		if err != nil || !result.More {
			return
		}
	}
}
