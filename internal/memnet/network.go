// Package memnet is a network in memory, for tests in real or virtual time: hosts by name, with streams (TCP) and packets
// (UDP), whose links can be cut, healed and slowed, and whose processes and machines can end.
//
// Network has the faults; Host is one machine, with the functions that a program takes in place of net.Listen,
// net.ListenPacket and net.Dialer. stream.go has the connections, packet.go the packets, machine.go the end of a machine.
package memnet

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Network connects hosts by name. A link that is cut loses packets; of a stream it loses nothing and delivers nothing: written
// data arrives once the link is healed, as with TCP.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	packets   map[string]*packetPort
	links     map[link]*linkState
	unplugged map[string]bool
	names     map[string]string   // of the hosts that have an IP address besides, by that
	machines  map[string]*machine // that run
	vanished  map[string]*machine // that have not come back
	pipes     map[*pipe]struct{}
	changed   chan struct{}
	port      int
}

// link is one direction between two hosts.
type link struct{ from, to string }

type linkState struct {
	cut    bool
	delay  time.Duration
	jitter time.Duration
}

// drawDelay is the time that data sent now will be under way.
func (s linkState) drawDelay() time.Duration {
	if s.jitter == 0 {
		return s.delay
	}
	return s.delay + rand.N(s.jitter)
}

// New is a network on which all hosts reach each other without delay.
func New() *Network {
	return &Network{
		listeners: map[string]*listener{}, packets: map[string]*packetPort{},
		links: map[link]*linkState{}, unplugged: map[string]bool{}, names: map[string]string{}, pipes: map[*pipe]struct{}{},
		machines: map[string]*machine{}, vanished: map[string]*machine{},
		changed: make(chan struct{}), port: 40_000,
	}
}

// linkFor makes the link's state on first use. It is called with mu held.
func (n *Network) linkFor(from, to string) *linkState {
	s := n.links[link{from, to}]
	if s == nil {
		s = &linkState{}
		n.links[link{from, to}] = s
	}
	return s
}

// linkState is the present state of a direction.
func (n *Network) linkState(from, to string) linkState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linkStateLocked(from, to)
}

func (n *Network) linkStateLocked(from, to string) linkState {
	s := *n.linkFor(from, to)
	s.cut = s.cut || from != to && (n.unplugged[from] || n.unplugged[to])
	return s
}

// change alters links and wakes what waits for one.
func (n *Network) change(alter func()) {
	n.mu.Lock()
	alter()
	close(n.changed)
	n.changed = make(chan struct{})
	var pipes []*pipe
	for p := range n.pipes {
		pipes = append(pipes, p)
	}
	n.mu.Unlock()
	for _, p := range pipes {
		p.wake()
	}
}

// AddIP gives a host an IP address besides its name, for programs that want one, such as memberlist. Faults of the host apply
// to both.
func (n *Network) AddIP(host, ip string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[ip] = host
}

// nameOf is the host that an address belongs to. It is called with mu held.
func (n *Network) nameOf(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if name := n.names[host]; name != "" {
		host = name
	}
	return host, err
}

// Cut stops everything between two hosts, both ways.
func (n *Network) Cut(a, b string) {
	n.change(func() { n.linkFor(a, b).cut, n.linkFor(b, a).cut = true, true })
}

// CutOneWay stops all traffic from one host to another.
func (n *Network) CutOneWay(from, to string) {
	n.change(func() { n.linkFor(from, to).cut = true })
}

// Heal undoes Cut.
func (n *Network) Heal(a, b string) {
	n.change(func() { n.linkFor(a, b).cut, n.linkFor(b, a).cut = false, false })
}

// Isolate cuts a host off from all others named.
func (n *Network) Isolate(host string, others ...string) {
	for _, other := range others {
		if other != host {
			n.Cut(host, other)
		}
	}
}

// Unplug cuts a host off from every other one, also from those to come.
func (n *Network) Unplug(host string) {
	n.change(func() { n.unplugged[host] = true })
}

// Plug undoes Unplug.
func (n *Network) Plug(host string) {
	n.change(func() { delete(n.unplugged, host) })
}

// HealAll undoes every Cut, Unplug, Delay and Jitter.
func (n *Network) HealAll() {
	n.change(func() { clear(n.links); clear(n.unplugged) })
}

// Delay makes data sent from one host to another from now on arrive later.
func (n *Network) Delay(from, to string, by time.Duration) {
	n.change(func() { n.linkFor(from, to).delay = by })
}

// Jitter makes each packet or write from one host to another take up to so much longer. A stream keeps its order; packets and
// two streams do not.
func (n *Network) Jitter(from, to string, by time.Duration) {
	n.change(func() { n.linkFor(from, to).jitter = by })
}
