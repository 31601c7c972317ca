// Package network makes hosts on this machine, each a network namespace of its own, joined by a switch in this program that
// drops packets as it is told (filter.go), and loses, delays, doubles, reorders and corrupts those of each link (link.go). It takes
// root and /dev/net/tun.
//
// Namespaces and devices have no names on disk. They are held by file descriptors of this program and by the processes inside,
// so nothing is left of them however this program ends.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// Switch joins hosts. A packet that it drops is reported to no host: there is no reset, and no "unreachable".
type Switch struct {
	Hosts []*Host // the first is this program's own namespace

	filter   atomic.Pointer[Filter]
	links    atomic.Pointer[linkTable] // nil: all are sound
	counts   effectCounts
	delayed  *delayedPackets
	carriers sync.WaitGroup

	changing sync.Mutex // held by who changes links
	seed     uint64
	changes  uint64 // of links since the last Seed
}

// Host is a host at a switch.
type Host struct {
	Address netip.Addr

	within *namespace // nil: this program's own
	tun    *os.File
}

// At is an address of the host.
func (h *Host) At(port uint16) string { return netip.AddrPortFrom(h.Address, port).String() }

// Start starts a process on the host.
func (h *Host) Start(process *exec.Cmd) error { return h.Run(process.Start) }

// Run runs a function on a thread of the host: the sockets that it opens and the processes that it starts are the host's.
// Goroutines that it starts are not on that thread.
func (h *Host) Run(f func() error) error {
	if h.within == nil {
		return f()
	}
	return h.within.run(f)
}

// Dial connects from the host to an address, which must be numeric: names are looked up by other threads.
func (h *Host) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Run(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Probe says why there are no hosts and no switch on this machine; nil: there are.
func Probe() error {
	s, err := OpenSwitch(1)
	if err != nil {
		return fmt.Errorf("no network namespaces: %w", err)
	}
	s.Close()
	return nil
}

const addressBits = 24 // of a switch's network

// opening keeps two switches of one process from taking the same addresses.
var opening sync.Mutex

// OpenSwitch makes so many hosts beside this program's own.
func OpenSwitch(count int) (_ *Switch, err error) {
	opening.Lock()
	defer opening.Unlock()
	s := &Switch{}
	s.delayed = newDelayedPackets(s.writePacket)
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	address, err := findFreeNetwork()
	if err != nil {
		return nil, err
	}
	own := &Host{Address: address}
	if own.tun, err = openTUN(address, addressBits); err != nil {
		return nil, err
	}
	s.Hosts = append(s.Hosts, own)
	for len(s.Hosts) <= count {
		address = address.Next()
		h := &Host{Address: address}
		if h.within, h.tun, err = openNamespace(address, addressBits); err != nil {
			return nil, err
		}
		s.Hosts = append(s.Hosts, h)
	}
	for from := range s.Hosts {
		s.carriers.Go(func() { s.carryPackets(from) })
	}
	s.carriers.Go(s.delayed.run)
	return s, nil
}

// findFreeNetwork is the first address of a 10.232.x.0/24 that no interface here has.
func findFreeNetwork() (first netip.Addr, err error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return first, fmt.Errorf("list addresses: %w", err)
	}
	taken := make(map[netip.Prefix]bool)
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			taken[prefix.Masked()] = true
		}
	}
	for i := range 256 {
		first = netip.AddrFrom4([4]byte{10, 232, byte(os.Getpid() + i), 1})
		if prefix, err := first.Prefix(addressBits); err == nil && !taken[prefix] {
			return first, nil
		}
	}
	return first, errors.New("every 10.232.x.0/24 is in use")
}

// carryPackets carries the packets of one host to their destinations.
func (s *Switch) carryPackets(from int) {
	packet := make([]byte, 64<<10)
	for {
		n, err := s.Hosts[from].tun.Read(packet)
		if err != nil {
			return // closed
		}
		if n < destinationAt+4 || packet[0]>>4 != 4 {
			continue
		}
		to := int(packet[destinationAt+3]) - 1
		if to < 0 || to >= len(s.Hosts) || to == from || s.Hosts[to].Address != netip.AddrFrom4([4]byte(packet[destinationAt:destinationAt+4])) {
			continue
		}
		if drop := s.filter.Load(); drop != nil && (*drop)(from, to, packet[:n]) {
			s.counts.dropped.Add(1)
			continue
		}
		if l := s.links.Load().find(from, to, packet[:n]); l != nil {
			s.carryOverLink(l, to, packet[:n])
			continue
		}
		s.writePacket(to, packet[:n])
	}
}

// carryOverLink carries a packet over a link that is not sound.
func (s *Switch) carryOverLink(l *linkState, to int, packet []byte) {
	p := l.choosePassage(time.Now(), packet)
	for range p.copies {
		if !l.holdsAll() && !p.heldBack {
			l.passed.Add(1)
			s.writePacket(to, packet)
		} else if !s.delayed.add(l, p, to, packet) {
			s.counts.overflowed.Add(1)
		}
	}
}

// writePacket hands a packet to its host. One that it does not take is lost.
func (s *Switch) writePacket(to int, packet []byte) { _, _ = s.Hosts[to].tun.Write(packet) }

// Drop drops the packets that a filter matches from now on, and no others; nil: none. It does not change links.
func (s *Switch) Drop(f Filter) {
	if f == nil {
		s.filter.Store(nil)
		return
	}
	s.filter.Store(&f)
}

// Dropped counts the packets that did not arrive so far.
func (s *Switch) Dropped() uint64 {
	e := s.Effects()
	return e.Dropped + e.Lost + e.Overflowed
}

// Close takes the hosts away. The namespace of a process that still runs on one lasts as long as the process.
func (s *Switch) Close() {
	s.delayed.close()
	for _, h := range s.Hosts {
		if h.within != nil {
			h.within.close()
		}
		_ = h.tun.Close()
	}
	s.carriers.Wait()
}
