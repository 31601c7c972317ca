package network

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

// mostHeld bounds the bytes of all packets that wait for their time; more are dropped.
const mostHeld = 64 << 20

// delayedPackets holds packets until they are due, and then writes them, from one goroutine.
type delayedPackets struct {
	write func(to int, packet []byte)

	mu     sync.Mutex
	queue  packetHeap
	held   int           // bytes
	number uint64        // of the last one added
	wake   chan struct{} // has one token if the first packet changed
	closed chan struct{}
}

// delayedPacket is a copy of a packet.
type delayedPacket struct {
	due      time.Time
	number   uint64 // packets that are due at one time go in the order in which they came
	to       int
	bytes    []byte
	link     *linkState
	heldBack bool
	passed   uint64 // of the link, when this one came
}

type packetHeap []*delayedPacket

func (h packetHeap) Len() int { return len(h) }
func (h packetHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].number < h[j].number
	}
	return h[i].due.Before(h[j].due)
}
func (h packetHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *packetHeap) Push(x any)   { *h = append(*h, x.(*delayedPacket)) }
func (h *packetHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}

func newDelayedPackets(write func(to int, packet []byte)) *delayedPackets {
	return &delayedPackets{write: write, wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add takes a copy of a packet. It returns false if there is no room.
func (d *delayedPackets) add(l *linkState, p passage, to int, packet []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held+len(packet) > mostHeld {
		return false
	}
	d.held += len(packet)
	d.number++
	heap.Push(&d.queue, &delayedPacket{
		due: p.due, number: d.number, to: to, bytes: slices.Clone(packet), link: l, heldBack: p.heldBack, passed: l.passed.Load(),
	})
	if d.queue[0].number == d.number {
		select {
		case d.wake <- struct{}{}:
		default: // there is a token
		}
	}
	return true
}

// takeDue returns a packet that is due, or else how long the first one has to wait.
func (d *delayedPackets) takeDue(now time.Time) (p *delayedPacket, wait time.Duration) {
	const idle = time.Hour // without a packet: until one is added
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return nil, idle
	}
	if wait := d.queue[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	p = heap.Pop(&d.queue).(*delayedPacket)
	d.held -= len(p.bytes)
	return p, 0
}

// run writes packets until close.
func (d *delayedPackets) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p, wait := d.takeDue(time.Now())
		if p == nil {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-d.wake:
			case <-d.closed:
				return
			}
			continue
		}
		switch passed := p.link.passed.Add(1) - 1; {
		case p.heldBack && passed > p.passed:
			p.link.counts.reordered.Add(1)
		default:
			p.link.counts.delayed.Add(1)
		}
		d.write(p.to, p.bytes)
	}
}

func (d *delayedPackets) close() { close(d.closed) }
