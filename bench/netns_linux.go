package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// netLink is a network namespace with one way out: a pair of TUN devices, one inside and one here, whose packets this
// program carries across. Cut, it carries none, in either direction, and nobody is told: no reset, no unreachable.
//
// The namespace and both devices have no names on disk. They are held by file descriptors and threads of this program and
// by what runs inside, so that nothing is left of them however this program ends.
type netLink struct {
	outside, inside netip.Addr // of this side and of the namespace's

	here, there *os.File
	within      *netNamespace
	severed     atomic.Bool
	dropped     atomic.Uint64 // by a cut
	picky       atomic.Pointer[func(packet []byte) (drop bool)]
	picked      atomic.Uint64 // packets that picky dropped
	carriers    sync.WaitGroup
}

// openNetLink makes a namespace; it takes root and /dev/net/tun.
func openNetLink() (_ *netLink, err error) {
	l := &netLink{}
	if l.outside, l.inside, err = findFreePair(); err != nil {
		return nil, err
	}
	if l.here, err = openTUN(l.outside, pairBits); err != nil {
		return nil, err
	}
	if l.within, l.there, err = openNetNamespace(l.inside, pairBits); err != nil {
		_ = l.here.Close()
		return nil, err
	}
	l.carriers.Go(func() { l.carryPackets(l.here, l.there) })
	l.carriers.Go(func() { l.carryPackets(l.there, l.here) })
	return l, nil
}

// netNamespace is a network namespace. It lasts as long as its thread and the processes that were started in it.
type netNamespace struct{ enter chan func() }

// openNetNamespace makes a namespace, and in it a TUN device with an address.
func openNetNamespace(address netip.Addr, bits int) (n *netNamespace, tun *os.File, err error) {
	n = &netNamespace{enter: make(chan func())}
	entered := make(chan error)
	go n.runInNamespace(address, bits, &tun, entered)
	if err := <-entered; err != nil {
		return nil, nil, err
	}
	return n, tun, nil
}

// runInNamespace is the thread inside. It is never unlocked, so it ends with its goroutine and no other ever runs on it.
func (n *netNamespace) runInNamespace(address netip.Addr, bits int, tun **os.File, entered chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		err = fmt.Errorf("make a network namespace: %w", err)
	}
	if err == nil {
		err = withSocket(func(socket int) error { return setUp(socket, "lo") })
	}
	if err == nil {
		*tun, err = openTUN(address, bits)
	}
	entered <- err
	if err != nil {
		return
	}
	for f := range n.enter {
		f()
	}
}

// startProcess starts a process inside. It inherits the namespace of the thread that forks it.
func (n *netNamespace) startProcess(process *exec.Cmd) error {
	done := make(chan error)
	n.enter <- func() { done <- process.Start() }
	return <-done
}

func (n *netNamespace) leaveNamespace() { close(n.enter) }

func (l *netLink) startProcess(process *exec.Cmd) error { return l.within.startProcess(process) }

func (l *netLink) cutAll() { l.dropped.Store(0); l.severed.Store(true) }

// healAll lets packets through again, and says how many were dropped since cut.
func (l *netLink) healAll() (dropped uint64) {
	l.severed.Store(false)
	return l.dropped.Load()
}

// dropPackets lets which say of each IP packet, in both directions, whether it is lost; nil: none is.
func (l *netLink) dropPackets(which func(packet []byte) bool) {
	if which == nil {
		l.picky.Store(nil)
		return
	}
	l.picky.Store(&which)
}

// countDropped counts the packets that drop has lost.
func (l *netLink) countDropped() uint64 { return l.picked.Load() }

func (l *netLink) closeLink() {
	l.within.leaveNamespace()
	_ = l.here.Close()
	_ = l.there.Close()
	l.carriers.Wait()
}

func (l *netLink) carryPackets(from, to *os.File) {
	packet := make([]byte, 64<<10)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return // closed
		}
		if l.severed.Load() {
			l.dropped.Add(1)
			continue
		}
		if drop := l.picky.Load(); drop != nil && (*drop)(packet[:n]) {
			l.picked.Add(1)
			continue
		}
		_, _ = to.Write(packet[:n]) // a packet that is not taken is a packet lost
	}
}

// pairBits is the length of the prefix that both ends of a link share.
const pairBits = 30

// findFreePair is two addresses of 10.231.x.0/30 that no interface here has.
func findFreePair() (outside, inside netip.Addr, err error) {
	taken := make(map[byte]bool)
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return outside, inside, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			if four := prefix.Addr().As4(); four[0] == 10 && four[1] == 231 {
				taken[four[2]] = true
			}
		}
	}
	for i := range 256 {
		x := byte(os.Getpid() + i)
		if !taken[x] {
			return netip.AddrFrom4([4]byte{10, 231, x, 1}), netip.AddrFrom4([4]byte{10, 231, x, 2}), nil
		}
	}
	return outside, inside, errors.New("every 10.231.x.0/30 is in use")
}

// openTUN makes a TUN device in the namespace of this thread. It lasts as long as the file.
func openTUN(address netip.Addr, bits int) (_ *os.File, err error) {
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(tun)
		}
	}()
	device, err := unix.NewIfreq("pnbench%d") // the kernel puts a number there
	if err != nil {
		return nil, err
	}
	device.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, device); err != nil {
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	name := device.Name()
	if err := withSocket(func(socket int) error { return setAddress(socket, name, address, bits) }); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(tun), name), nil
}

// withSocket lends the socket that settings of interfaces go through, in the namespace of this thread.
func withSocket(f func(socket int) error) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	return f(socket)
}

func setAddress(socket int, name string, address netip.Addr, bits int) error {
	for _, set := range []struct {
		what uint
		to   [4]byte
	}{{unix.SIOCSIFADDR, address.As4()}, {unix.SIOCSIFNETMASK, [4]byte(net.CIDRMask(bits, 32))}} {
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := request.SetInet4Addr(set.to[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(socket, set.what, request); err != nil {
			return fmt.Errorf("give %s the address %s: %w", name, address, err)
		}
	}
	return setUp(socket, name)
}

func setUp(socket int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
