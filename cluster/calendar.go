package cluster

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/tables"
	"github.com/profilenode/profilenode/fsm"
)

const (
	minute           = time.Minute
	keptMinutes      = 60  // for which ended incarnations and their answers are kept
	keptNothingLeft  = 5   // minutes for which those are kept that left nothing but the answer to their own end
	forgetStep       = 256 // incarnations that one ForgetEnded command deletes
	forgetSteps      = 4   // ForgetEnded commands each time
	forgetPeriod     = 10 * time.Second
	calendarMinJump  = time.Minute // how much further than the running time the timestamps must move to count as a jump
	jumpShownMinutes = 60          // for which a jump is reported
)

// calendar finds, for one leadership, jumps of the timestamps: the cluster was down, or clocks were set. Nothing waits for
// them: the age of ended incarnations is counted in minutes that leaders ran, which are a row (fsm.CountMinute). A stopped
// process and a sleeping machine miss theirs, and the next leader goes on counting. So data is kept for longer, never for less.
type calendar struct {
	mu             sync.Mutex
	lastStampMS    int64         // timestamp at the last tick
	ticksSinceJump int           // since the last jump, or since the leadership began
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
	c.lastStampMS, c.lastTick = nowMS, time.Now()
	if gap := time.Duration(nowMS-logMS) * time.Millisecond; logMS > 0 && min(gap, idle) > calendarMinJump {
		c.jump, c.jumpFrom, c.clocksSet = gap, logMS, gap-idle > calendarMinJump
	}
}

// noteTime records a tick. The goroutine that uses the calendar calls it once a minute with the present timestamp.
func (c *calendar) noteTime(nowMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.lastStampMS
	c.lastStampMS = nowMS
	c.ticksSinceJump++
	ran := time.Since(c.lastTick)
	c.lastTick = time.Now()
	moved := time.Duration(nowMS-last) * time.Millisecond
	if gap := moved - minute; gap > calendarMinJump {
		c.jump, c.jumpFrom, c.ticksSinceJump, c.clocksSet = gap, last, 0, moved-ran > calendarMinJump
	}
}

// alarms reports a jump for an hour of this leadership: as a notice if the cluster had no leader, as an alarm if clocks were
// set.
func (c *calendar) alarms() []Alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jump == 0 || c.ticksSinceJump >= jumpShownMinutes {
		return nil
	}
	a := Alarm{Code: NoticeDown}
	why := "the cluster was down, stopped or without a leader, which needs nothing"
	if c.clocksSet {
		a.Code, why = AlarmClocksSet, "the clocks of most nodes were set, or their machines slept: look at their time service"
	}
	a.Text = fmt.Sprintf("the time of the cluster moved by %v at once, from %s: %s; this stands for %v more",
		c.jump.Round(time.Second), time.UnixMilli(c.jumpFrom).UTC().Format(time.RFC3339), why, time.Duration(jumpShownMinutes-c.ticksSinceJump)*minute)
	return []Alarm{a}
}

// tendCalendar counts the minutes of one leadership, and forgets the incarnations that ended long ago, until it ends.
func (l *leaderState) tendCalendar() {
	forget := time.NewTicker(forgetPeriod)
	defer forget.Stop()
	passed := time.NewTicker(minute)
	defer passed.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-passed.C:
			l.calendar.noteTime(l.clock.nextTimestamp())
			l.countMinute()
		case <-forget.C:
			l.forgetEnded()
			l.dropDue()
		}
	}
}

// countMinute counts a minute in the tables, unless nothing waits there to grow old. If the outcome is unknown it is not
// proposed again: a minute too few keeps data for longer.
func (l *leaderState) countMinute() {
	waits := l.readMinute(func(view *tables.View, now uint64) (bool, error) {
		ended, err := view.EndedBefore(now+1, now+1)
		if ended || err != nil {
			return ended, err
		}
		return view.DueBefore(math.MaxUint64)
	})
	if waits {
		_, _ = l.proposePatiently(l.ctx, fsm.NewCommand(nil, &fsm.CountMinute{}))
	}
}

// forgetEnded deletes the rows of incarnations that ended an hour of running time ago, and of those that left nothing some
// minutes ago. An incarnation that ended when m minutes were counted ended within the next one: with now counted it is at least
// now-m-1 minutes old.
func (l *leaderState) forgetEnded() {
	l.repeatStep(func(view *tables.View, now uint64) (any, bool, error) {
		before, nothingLeft := now-min(now, keptMinutes), now-min(now, keptNothingLeft)
		due, err := view.EndedBefore(before, nothingLeft)
		return &fsm.ForgetEnded{Before: before, NothingLeftBefore: nothingLeft, Limit: forgetStep}, due, err
	})
}

// dropDue drops what the policies keep for some days, once they are over.
func (l *leaderState) dropDue() {
	l.repeatStep(func(view *tables.View, now uint64) (any, bool, error) {
		due, err := view.DueBefore(now + 1)
		return &fsm.DropDue{Limit: forgetStep}, due, err
	})
}

// repeatStep proposes the command that next returns from a view and the minutes that are counted, while it says that there is
// work and the command's result that there is more, a few times.
func (l *leaderState) repeatStep(next func(view *tables.View, now uint64) (command any, due bool, err error)) {
	for range forgetSteps {
		var command any
		due := l.readMinute(func(view *tables.View, now uint64) (due bool, err error) {
			command, due, err = next(view, now)
			return due, err
		})
		if !due {
			return
		}
		result, err := l.proposePatiently(l.ctx, fsm.NewCommand(nil, command))
		if err != nil || !result.More {
			return
		}
	}
}

// readMinute has read look for work in a view, at the minute that is counted in it. After an error there is none now.
func (l *leaderState) readMinute(read func(view *tables.View, now uint64) (bool, error)) bool {
	view, err := l.node.tables.OpenView()
	if err != nil {
		return false
	}
	defer view.Close()
	now, err := view.Minute()
	if err != nil {
		return false
	}
	found, err := read(view, now)
	return found && err == nil
}
