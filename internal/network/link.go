package network

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Link is the state of the way from one host to another. Its zero value is a sound one. Chances are of each packet, from 0 to 1.
type Link struct {
	Drop      bool
	Loss      float64 // chance to be lost
	Duplicate float64 // chance to arrive twice
	Reorder   float64 // chance to be held back, so that later packets overtake it
	Corrupt   float64 // chance of a bit of the payload that is flipped under a right checksum

	// Packets of one link keep their order, whatever Jitter adds to each or takes from it.
	Delay, Jitter time.Duration

	// BytesPerSecond is the width; 0: no bound. A packet for which there is no room in the queue, of a quarter of a second, is
	// dropped.
	BytesPerSecond int

	Only Filter // which packets this is about; nil: all
}

const (
	queueTime     = 250 * time.Millisecond // of a narrow link
	leastQueue    = 24 << 10               // bytes, of a link however narrow
	leastHeldBack = 10 * time.Millisecond  // by which a reordered packet is late
)

// Effects counts packets by what was done to them.
type Effects struct {
	Dropped    uint64 // by Drop, of a Link or of the switch
	Lost       uint64 // by chance
	Overflowed uint64 // for want of room in a queue
	Delayed    uint64 // by a Delay or a narrow link
	Duplicated uint64
	Reordered  uint64 // they were overtaken
	Corrupted  uint64 // their payload was changed
}

// effectCounts is Effects, counted by many goroutines.
type effectCounts struct {
	dropped, lost, overflowed, delayed, duplicated, reordered, corrupted atomic.Uint64
}

func (c *effectCounts) read() Effects {
	return Effects{
		Dropped: c.dropped.Load(), Lost: c.lost.Load(), Overflowed: c.overflowed.Load(), Delayed: c.delayed.Load(),
		Duplicated: c.duplicated.Load(), Reordered: c.reordered.Load(), Corrupted: c.corrupted.Load(),
	}
}

// linkState is a Link in use. The goroutine that carries the packets of its first host alone uses it, but for passed.
type linkState struct {
	Link
	random  *rand.Rand
	counts  *effectCounts
	free    time.Time     // when a narrow link has sent all that it took
	lastDue time.Time     // of the packets that keep their order
	passed  atomic.Uint64 // packets that were let go to their host
}

func newLinkState(l Link, seed, stream uint64, counts *effectCounts) *linkState {
	return &linkState{Link: l, random: rand.New(rand.NewPCG(seed, stream)), counts: counts}
}

// passage is what becomes of a packet: how many copies of it go, when, and whether it is held back behind later ones.
type passage struct {
	copies   int
	due      time.Time
	heldBack bool
}

// holdsAll says whether every packet waits for its time, so that none overtakes another that is due and not yet written.
func (l *linkState) holdsAll() bool { return l.Delay > 0 || l.Jitter > 0 || l.BytesPerSecond > 0 }

func (l *linkState) happens(chance float64) bool { return chance > 0 && l.random.Float64() < chance }

// choosePassage decides about a packet that came now, and may corrupt it.
func (l *linkState) choosePassage(now time.Time, packet []byte) (p passage) {
	if l.Drop {
		l.counts.dropped.Add(1)
		return p
	}
	if l.happens(l.Loss) {
		l.counts.lost.Add(1)
		return p
	}
	p = passage{copies: 1, due: now}
	if l.BytesPerSecond > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		width := float64(l.BytesPerSecond)
		if room := max(queueTime.Seconds()*width, leastQueue); l.free.Sub(now).Seconds()*width+float64(len(packet)) > room {
			l.counts.overflowed.Add(1)
			return passage{}
		}
		l.free = l.free.Add(time.Duration(float64(len(packet)) / width * float64(time.Second)))
		p.due = l.free
	}
	if l.happens(l.Corrupt) && corruptPayload(packet, l.random) {
		l.counts.corrupted.Add(1)
	}
	if l.happens(l.Duplicate) {
		l.counts.duplicated.Add(1)
		p.copies = 2
	}
	p.due = p.due.Add(l.Delay)
	if l.Jitter > 0 {
		p.due = p.due.Add(time.Duration((2*l.random.Float64() - 1) * float64(l.Jitter)))
	}
	if l.happens(l.Reorder) {
		p.heldBack = true
		p.due = p.due.Add(max(leastHeldBack, l.Delay/2, l.Jitter))
		return p
	}
	if p.due.Before(l.lastDue) {
		p.due = l.lastDue
	}
	l.lastDue = p.due
	return p
}

// linkTable has the links of every pair of hosts that has any; the first of a pair that is about a packet acts on it.
type linkTable struct {
	hosts int
	links [][]*linkState // by from*hosts + to
}

// find returns the link that is about a packet, nil if there is none. A nil table has none.
func (t *linkTable) find(from, to int, packet []byte) *linkState {
	if t == nil {
		return nil
	}
	for _, l := range t.links[from*t.hosts+to] {
		if l.Only == nil || l.Only(from, to, packet) {
			return l
		}
	}
	return nil
}

// SetLink puts the way from one host to another in a state, instead of the one that it was in. Of several Links the first whose
// Only matches a packet acts on it; none heals the way. Packets that are under way arrive all the same.
func (s *Switch) SetLink(from, to int, links ...Link) {
	s.changing.Lock()
	defer s.changing.Unlock()
	t := &linkTable{hosts: len(s.Hosts), links: make([][]*linkState, len(s.Hosts)*len(s.Hosts))}
	if old := s.links.Load(); old != nil {
		copy(t.links, old.links)
	}
	var states []*linkState
	for i, l := range links {
		s.changes++
		states = append(states, newLinkState(l, s.seed, uint64(from)<<48|uint64(to)<<32|uint64(i)<<24|s.changes, &s.counts))
	}
	t.links[from*t.hosts+to] = states
	for _, l := range t.links {
		if len(l) > 0 {
			s.links.Store(t)
			return
		}
	}
	s.links.Store(nil)
}

// Seed makes what happens by chance on links that are set from now on a function of seed, and of the packets.
func (s *Switch) Seed(seed uint64) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.seed, s.changes = seed, 0
}

// Heal ends Drop and the state of every link. Packets that are held back arrive when they are due.
func (s *Switch) Heal() {
	s.Drop(nil)
	s.changing.Lock()
	defer s.changing.Unlock()
	s.links.Store(nil)
}

// Effects counts what was done to packets so far.
func (s *Switch) Effects() Effects { return s.counts.read() }
