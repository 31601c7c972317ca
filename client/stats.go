package client

import (
	"errors"
	"sync/atomic"
	"time"
)

// Stats are a client's numbers since it was opened, for the game's own dashboards.
type Stats struct {
	Sessions   int           // held or in doubt now
	Lost       uint64        // sessions that ended without the game's or the hand-off's doing
	Reclaimed  uint64        // sessions that went on after the cluster took this game server for dead
	Doubts     uint64        // times that the client came into doubt
	InDoubt    time.Duration // in all, the doubt of now included; looked at each 50 ms
	Saves      uint64        // that stored something
	SavedBytes uint64
	Failed     uint64 // saves that were refused, or given up; most are tried again by the autosave
	Retries    uint64 // copies of changes that were sent again, under their number
	Unsettled  uint64 // request numbers from the oldest without a known outcome up to the newest
	Node       string // client address of the node that changes go to; empty while it is not known
}

// Stats returns the numbers as they are now.
func (c *Client) Stats() Stats {
	c.keeper.mu.Lock()
	var held []*session
	sessions, unsettled := 0, uint64(0)
	for _, l := range c.keeper.allIncarnations() {
		held = append(held, l.listSessions()...)
		unsettled += l.numbers.CountUnsettled()
	}
	c.keeper.mu.Unlock()
	for _, s := range held {
		if !s.isKept() {
			sessions++
		}
	}
	t := &c.counters
	return Stats{
		Sessions: sessions, Lost: t.lost.Load(), Reclaimed: t.reclaimed.Load(), Doubts: t.doubts.Load(), InDoubt: time.Duration(t.inDoubt.Load()),
		Saves: t.saves.Load(), SavedBytes: t.savedBytes.Load(), Failed: t.failed.Load(), Retries: t.retries.Load(), Unsettled: unsettled,
		Node: c.link.nodes.Leader(),
	}
}

// counters holds the numbers that Stats returns.
type counters struct {
	lost, reclaimed, doubts, saves, savedBytes, failed, retries atomic.Uint64
	inDoubt                                                     atomic.Int64 // time.Duration
}

// addDoubtTime takes the state in which the watch found the client, and the time since its last look.
func (t *counters) addDoubtTime(doubt, before bool, passed time.Duration) {
	if !doubt {
		return
	}
	if !before {
		t.doubts.Add(1)
		return // when within the pause it began is not known
	}
	t.inDoubt.Add(int64(passed))
}

// addEnd counts the end of a session by its cause.
func (t *counters) addEnd(why error) {
	if why != nil && !errors.Is(why, ErrClosed) {
		t.lost.Add(1)
	}
}
