package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
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
		err = netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo"}})
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
func openTUN(address netip.Addr, bits int) (*os.File, error) {
	device := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "pnbench%d"}, // the kernel puts a number there
		Mode:      netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, NonPersist: true, Queues: 1,
	}
	if err := netlink.LinkAdd(device); err != nil {
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	at := &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
	if err := errors.Join(netlink.AddrAdd(device, at), netlink.LinkSetUp(device)); err != nil {
		return nil, errors.Join(fmt.Errorf("give %s the address %s: %w", device.Name, address, err), device.Fds[0].Close())
	}
	return device.Fds[0], nil
}
