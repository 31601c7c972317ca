package main

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

const (
	fabricBits = 24
	fabricMost = 16 // hosts
)

// hostSwitch is some hosts, each a network namespace of its own, joined by a switch in this program. The first one is this
// program's own namespace. What one host sends to another can be cut, each direction by itself; the packets are dropped and
// neither host is told.
type hostSwitch struct {
	hosts    []*switchedHost
	cutFrom  [fabricMost][fabricMost]atomic.Bool // [from][to]
	dropped  atomic.Uint64
	carriers sync.WaitGroup
}

// switchedHost is one of them.
type switchedHost struct {
	address netip.Addr
	within  *netNamespace // nil: this program's own
	tun     *os.File
}

func (h *switchedHost) startProcess(process *exec.Cmd) error { return h.within.startProcess(process) }

// openHostSwitch makes so many hosts beside this program's own; it takes root and /dev/net/tun.
func openHostSwitch(count int) (_ *hostSwitch, err error) {
	if count+1 > fabricMost {
		return nil, fmt.Errorf("%d hosts: at most %d", count, fabricMost-1)
	}
	f := &hostSwitch{}
	defer func() {
		if err != nil {
			f.closeAll()
		}
	}()
	own, err := openHost()
	if err != nil {
		return nil, err
	}
	f.hosts = append(f.hosts, own)
	for address := own.address.Next(); len(f.hosts) <= count; address = address.Next() {
		h := &switchedHost{address: address}
		if h.within, h.tun, err = openNetNamespace(address, fabricBits); err != nil {
			return nil, err
		}
		f.hosts = append(f.hosts, h)
	}
	for from := range f.hosts {
		f.carriers.Go(func() { f.carryPackets(from) })
	}
	return f, nil
}

// openingFabric keeps two fabrics of one process from taking the same addresses.
var openingFabric sync.Mutex

// openHost gives this program's namespace the first address of a 10.232.x.0/24 that no interface here has.
func openHost() (*switchedHost, error) {
	openingFabric.Lock()
	defer openingFabric.Unlock()
	taken := make(map[byte]bool)
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			if four := prefix.Addr().As4(); four[0] == 10 && four[1] == 232 {
				taken[four[2]] = true
			}
		}
	}
	for i := range 256 {
		x := byte(os.Getpid() + i)
		if taken[x] {
			continue
		}
		h := &switchedHost{address: netip.AddrFrom4([4]byte{10, 232, x, 1})}
		h.tun, err = openTUN(h.address, fabricBits)
		return h, err
	}
	return nil, errors.New("every 10.232.x.0/24 is in use")
}

// carryPackets takes what one host sends to where it is meant for.
func (f *hostSwitch) carryPackets(from int) {
	const destination = 16 // offset of the address in an IPv4 header
	packet := make([]byte, 64<<10)
	for {
		n, err := f.hosts[from].tun.Read(packet)
		if err != nil {
			return // closed
		}
		if n < destination+4 || packet[0]>>4 != 4 {
			continue
		}
		last := packet[destination+3]
		to := int(last) - 1
		if to < 0 || to >= len(f.hosts) || to == from || f.hosts[to].address != netip.AddrFrom4([4]byte(packet[destination:destination+4])) {
			continue
		}
		if f.cutFrom[from][to].Load() {
			f.dropped.Add(1)
			continue
		}
		_, _ = f.hosts[to].tun.Write(packet[:n]) // a packet that is not taken is a packet lost
	}
}

// cutLink cuts what one host sends to another.
func (f *hostSwitch) cutLink(from, to int) { f.cutFrom[from][to].Store(true) }

// healAll lets everything through again, and says how many packets were dropped since the last time.
func (f *hostSwitch) healAll() (dropped uint64) {
	for from := range f.cutFrom {
		for to := range f.cutFrom[from] {
			f.cutFrom[from][to].Store(false)
		}
	}
	return f.dropped.Swap(0)
}

func (f *hostSwitch) closeAll() {
	for _, h := range f.hosts {
		if h.within != nil {
			h.within.leaveNamespace()
		}
		_ = h.tun.Close()
	}
	f.carriers.Wait()
}
