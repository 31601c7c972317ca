package cluster

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	sampleMaxAge   = time.Minute     // a sample counts for so long
	maxClockOffset = 2 * time.Second // a node's clock further than this from the median raises an alarm
)

// clock makes the stamps of one lead: the median of the voters' wall clocks, so that no single wrong one can spoil the times
// stamps decide. Until a majority's clocks are known it stands still at the last stamp of the log.
type clock struct {
	self string
	now  func() time.Time

	mu      sync.Mutex
	origin  time.Time // samples are differences from the monotonic time since then
	voters  []string
	samples map[string]clockSample // of the others
	lastMS  int64                  // the last stamp given, or applied before this lead
}

type clockSample struct {
	offset  time.Duration // wall clock, as Unix time, less the time since origin
	takenAt time.Time
}

func newClock(self string, now func() time.Time) *clock {
	return &clock{self: self, now: now, origin: time.Now(), samples: map[string]clockSample{}}
}

// raiseFloor sets the highest timestamp that the log has reached.
func (c *clock) raiseFloor(stampMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastMS = max(c.lastMS, stampMS)
}

// setVoters sets the voters with clocks that count.
func (c *clock) setVoters(voters []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voters = voters
	maps.DeleteFunc(c.samples, func(id string, _ clockSample) bool { return !slices.Contains(voters, id) })
}

// addSample notes the time of a voter's clock at some moment between asking and answer.
func (c *clock) addSample(voter string, wallMS int64, asked, answered time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	middle := asked.Add(answered.Sub(asked) / 2)
	c.samples[voter] = clockSample{offset: time.Duration(wallMS)*time.Millisecond - middle.Sub(c.origin), takenAt: answered}
}

// nextTimestamp is the time for the next entry, in Unix milliseconds. It never decreases.
func (c *clock) nextTimestamp() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if median, ok := c.medianOffset(c.estimateOffsets()); ok {
		c.lastMS = max(c.lastMS, median.Milliseconds())
	}
	return c.lastMS
}

// estimateOffsets are the clocks that count, as Unix time, now. mu must be held.
func (c *clock) estimateOffsets() map[string]time.Duration {
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

// medianOffset is of two the lower; ok is false below a majority.
func (c *clock) medianOffset(walls map[string]time.Duration) (time.Duration, bool) {
	if len(walls) == 0 || len(walls) < len(c.voters)/2+1 {
		return 0, false
	}
	sorted := slices.Sorted(maps.Values(walls))
	return sorted[(len(sorted)-1)/2], true
}

// largestOffset is how far the clock that is furthest from the median is from it.
func (c *clock) largestOffset() (most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	walls := c.estimateOffsets()
	if median, ok := c.medianOffset(walls); ok {
		for _, wall := range walls {
			most = max(most, (wall - median).Abs())
		}
	}
	return most
}

// alarms names the voters with clocks far from the median.
func (c *clock) alarms() []Alarm {
	c.mu.Lock()
	defer c.mu.Unlock()
	walls := c.estimateOffsets()
	median, ok := c.medianOffset(walls)
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
