package cluster

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	sampleMaxAge   = time.Minute     // an older sample of a voter's clock is ignored
	maxClockOffset = 2 * time.Second // a voter's clock that is further from the median raises an alarm
)

// clock makes the timestamps of one leadership. A timestamp is the median of the voters' wall clocks, so that no single
// wrong clock can move the times that decide about answers and history. Until the clocks of a majority are known it stays
// at the log's last timestamp.
type clock struct {
	self string
	now  func() time.Time

	mu      sync.Mutex
	origin  time.Time // samples are offsets from the monotonic time since origin
	voters  []string
	samples map[string]clockSample // of the other voters, by node id
	lastMS  int64                  // Unix milliseconds of the last timestamp, made here or applied before this leadership
}

type clockSample struct {
	offset  time.Duration // the voter's wall clock (Unix time) minus the time since origin
	takenAt time.Time
}

func newClock(self string, now func() time.Time) *clock {
	return &clock{self: self, now: now, origin: time.Now(), samples: map[string]clockSample{}}
}

// raiseFloor sets the lowest timestamp that may follow: the last one in the log.
func (c *clock) raiseFloor(stampMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastMS = max(c.lastMS, stampMS)
}

// setVoters sets the nodes with clocks that count, and drops the samples of others.
func (c *clock) setVoters(voters []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voters = voters
	maps.DeleteFunc(c.samples, func(id string, _ clockSample) bool { return !slices.Contains(voters, id) })
}

// addSample records a voter's clock. The voter read it at some moment between asked and answered; half way between them
// is assumed.
func (c *clock) addSample(voter string, wallMS int64, asked, answered time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	middle := asked.Add(answered.Sub(asked) / 2)
	c.samples[voter] = clockSample{offset: time.Duration(wallMS)*time.Millisecond - middle.Sub(c.origin), takenAt: answered}
}

// nextTimestamp returns the timestamp of the next entry, in Unix milliseconds. It never decreases.
func (c *clock) nextTimestamp() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if median, ok := c.medianClock(c.estimateWallClocks()); ok {
		c.lastMS = max(c.lastMS, median.Milliseconds())
	}
	return c.lastMS
}

// peekTimestamp returns the timestamp that an entry would have now, and takes none: a later one may be below it. ok is false
// below a majority of the voters.
func (c *clock) peekTimestamp() (stampMS int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	median, ok := c.medianClock(c.estimateWallClocks())
	return max(c.lastMS, median.Milliseconds()), ok
}

// estimateWallClocks returns the present wall clock of each voter with a fresh sample, as Unix time. mu must be held.
func (c *clock) estimateWallClocks() map[string]time.Duration {
	now := time.Now()
	walls := map[string]time.Duration{}
	for _, id := range c.voters {
		s, known := c.samples[id]
		switch {
		case id == c.self:
			walls[id] = time.Duration(c.now().UnixNano())
		case known && now.Sub(s.takenAt) < sampleMaxAge:
			walls[id] = s.offset + now.Sub(c.origin)
		}
	}
	return walls
}

// medianClock returns the median of the clocks, the lower one of two. ok is false below a majority of the voters.
func (c *clock) medianClock(walls map[string]time.Duration) (time.Duration, bool) {
	if len(walls) == 0 || len(walls) < len(c.voters)/2+1 {
		return 0, false
	}
	sorted := slices.Sorted(maps.Values(walls))
	return sorted[(len(sorted)-1)/2], true
}

// largestOffset returns the distance between the median and the clock that is furthest from it.
func (c *clock) largestOffset() (most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	walls := c.estimateWallClocks()
	if median, ok := c.medianClock(walls); ok {
		for _, wall := range walls {
			most = max(most, (wall - median).Abs())
		}
	}
	return most
}

// alarms returns an alarm for each voter with a clock that is far from the median.
func (c *clock) alarms() []Alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	walls := c.estimateWallClocks()
	median, ok := c.medianClock(walls)
	if !ok {
		return nil
	}
	var alarms []Alarm
	for _, id := range slices.Sorted(maps.Keys(walls)) {
		if off := walls[id] - median; off.Abs() > maxClockOffset {
			alarms = append(alarms, Alarm{
				Code: AlarmClockOff, subject: id,
				Text: fmt.Sprintf("the clock of node %s is %v from the median of the cluster: correct it", id, off.Round(100*time.Millisecond)),
			})
		}
	}
	return alarms
}
