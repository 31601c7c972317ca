// Package network makes hosts on this machine, each a network namespace of its own, joined by a switch in this program that
// loses packets as it is told (filter.go). It takes root and /dev/net/tun.
//
// Namespaces and devices have no names on disk. They are held by file descriptors and threads of this program and by the
// processes inside, so nothing is left of them however this program ends.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
)

// Switch joins hosts. A packet that it drops is reported to no host: there is no reset, and no "unreachable".
type Switch struct {
	Hosts []*Host // the first is this program's own namespace

	filter   atomic.Pointer[Filter]
	dropped  atomic.Uint64
	carriers sync.WaitGroup
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
func (h *Host) Start(process *exec.Cmd) error {
	if h.within == nil {
		return process.Start()
	}
	return h.within.start(process)
}

const addressBits = 24 // of a switch's network

// opening keeps two switches of one process from taking the same addresses.
var opening sync.Mutex

// OpenSwitch makes so many hosts beside this program's own.
func OpenSwitch(count int) (_ *Switch, err error) {
	opening.Lock()
	defer opening.Unlock()
	s := &Switch{}
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
	const destination = 16 // offset of the address in an IPv4 header
	packet := make([]byte, 64<<10)
	for {
		n, err := s.Hosts[from].tun.Read(packet)
		if err != nil {
			return // closed
		}
		if n < destination+4 || packet[0]>>4 != 4 {
			continue
		}
		to := int(packet[destination+3]) - 1
		if to < 0 || to >= len(s.Hosts) || to == from || s.Hosts[to].Address != netip.AddrFrom4([4]byte(packet[destination:destination+4])) {
			continue
		}
		if drop := s.filter.Load(); drop != nil && (*drop)(from, to, packet[:n]) {
			s.dropped.Add(1)
			continue
		}
		_, _ = s.Hosts[to].tun.Write(packet[:n]) // a packet that is not taken is a packet lost
	}
}

// Drop drops the packets that a filter names from now on, and no others; nil: none.
func (s *Switch) Drop(f Filter) {
	if f == nil {
		s.filter.Store(nil)
		return
	}
	s.filter.Store(&f)
}

// Dropped counts the packets dropped so far.
func (s *Switch) Dropped() uint64 { return s.dropped.Load() }

// Close takes the hosts away.
func (s *Switch) Close() {
	for _, h := range s.Hosts {
		if h.within != nil {
			close(h.within.enter)
		}
		_ = h.tun.Close()
	}
	s.carriers.Wait()
}

// namespace is a network namespace. It lasts as long as its thread and the processes that were started in it.
type namespace struct{ enter chan func() }

// start starts a process inside: it inherits the namespace of the thread that forks it.
func (n *namespace) start(process *exec.Cmd) error {
	done := make(chan error)
	n.enter <- func() { done <- process.Start() }
	return <-done
}
