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

// namespace is a network namespace. It lasts as long as its file, its device and the processes that were started in it.
type namespace struct{ file *os.File }

// openNamespace makes a namespace, and in it a TUN device with an address.
func openNamespace(address netip.Addr, bits int) (n *namespace, tun *os.File, err error) {
	err = runOnOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo"}}); err != nil {
			return err
		}
		file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			return err
		}
		if tun, err = openTUN(address, bits); err != nil {
			return errors.Join(err, file.Close())
		}
		n = &namespace{file}
		return nil
	})
	return n, tun, err
}

// runOnOwnThread runs a function on a thread that ends with it, so no other goroutine ever runs in the thread's namespace.
func runOnOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

// run runs a function on a thread inside. A process inherits the namespace of the thread that forks it.
func (n *namespace) run(f func() error) error {
	return runOnOwnThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

func (n *namespace) close() { _ = n.file.Close() }

// openTUN makes a TUN device in the namespace of this thread. It lasts as long as the file.
func openTUN(address netip.Addr, bits int) (*os.File, error) {
	device := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "profilenode%d"}, // the kernel puts a number there
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
