package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openNamespace makes a namespace, and in it a TUN device with an address.
func openNamespace(address netip.Addr, bits int) (n *namespace, tun *os.File, err error) {
	n = &namespace{enter: make(chan func())}
	entered := make(chan error)
	go n.run(address, bits, &tun, entered)
	if err := <-entered; err != nil {
		return nil, nil, err
	}
	return n, tun, nil
}

// run is the thread inside. It is never unlocked, so it ends with its goroutine, and no other goroutine ever runs on it.
func (n *namespace) run(address netip.Addr, bits int, tun **os.File, entered chan<- error) {
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

// withSocket lends the socket through which interfaces are set, in the namespace of this thread.
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
		request uint
		to      [4]byte
	}{{unix.SIOCSIFADDR, address.As4()}, {unix.SIOCSIFNETMASK, [4]byte(net.CIDRMask(bits, 32))}} {
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := request.SetInet4Addr(set.to[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(socket, set.request, request); err != nil {
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
