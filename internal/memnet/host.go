package memnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// Host is one machine on a network, until it crashes.
type Host struct {
	network *Network
	name    string
	machine *machine
}

// Host has addresses name:port; name may be an IP address. After a crash of that name it is the machine that was started
// again.
func (n *Network) Host(name string) Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machines[name]
	if m == nil {
		m = &machine{conns: map[*conn]struct{}{}}
		n.machines[name] = m
	}
	return Host{n, name, m}
}

type addr struct{ network, address string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.address }

// streamAddr and packetAddr are of the types that net uses where the host is an IP address: memberlist asks for them.
func streamAddr(address string) net.Addr {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return net.TCPAddrFromAddrPort(at)
	}
	return addr{"tcp", address}
}

func packetAddr(address string) net.Addr {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return net.UDPAddrFromAddrPort(at)
	}
	return addr{"udp", address}
}

// addressOf is an address of this host; port 0 stands for a free one. It is called with the network's mu held.
func (h Host) addressOf(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if h.network.names[host] != h.name {
		host = h.name
	}
	if h.machine.over {
		return "", net.ErrClosed
	}
	if port == "0" {
		h.network.port++
		port = strconv.Itoa(h.network.port)
	}
	return net.JoinHostPort(host, port), nil
}

type listener struct {
	host    Host
	at      string
	backlog chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

// Listen takes an address of this host; port 0 takes a free one.
func (h Host) Listen(_, address string) (net.Listener, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at, err := h.addressOf(address)
	if err != nil {
		return nil, err
	}
	if n.listeners[at] != nil {
		return nil, fmt.Errorf("listen %s: address in use", at)
	}
	l := &listener{host: h, at: at, backlog: make(chan net.Conn, 128), closed: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

func (l *listener) Addr() net.Addr { return streamAddr(l.at) }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		n := l.host.network
		n.mu.Lock()
		if n.listeners[l.at] == l {
			delete(n.listeners, l.at)
		}
		n.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.backlog:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Dial reaches an address from this host. An address without a listener is refused at once; over a cut link it waits.
func (h Host) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n := h.network
	for {
		n.mu.Lock()
		to, err := n.nameOf(address)
		cut := n.linkStateLocked(h.name, to).cut || n.linkStateLocked(to, h.name).cut || n.vanished[to] != nil
		changed := n.changed
		over := h.machine.over
		l := n.listeners[address]
		n.port++
		local := net.JoinHostPort(h.name, strconv.Itoa(n.port))
		n.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if over {
			return nil, net.ErrClosed
		}
		if !cut {
			return h.connect(ctx, l, local, to, address)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, os.ErrDeadlineExceeded
		}
	}
}

func (h Host) connect(ctx context.Context, l *listener, local, to, address string) (net.Conn, error) {
	n := h.network
	refused := fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	if l == nil {
		return nil, refused
	}
	up, down := n.newPipe(h.name, to), n.newPipe(to, h.name)
	up.back, down.back = down, up
	ours := &conn{local: local, remote: l.at, read: down, write: up, machine: h.machine}
	theirs := &conn{local: l.at, remote: local, read: up, write: down, machine: l.host.machine}
	if !n.addConns(ours, theirs) {
		ours.closeEnds()
		theirs.closeEnds()
		return nil, refused
	}
	var err error
	select {
	case l.backlog <- theirs:
		return ours, nil
	case <-l.closed:
		err = refused
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, ours.Close(), theirs.Close())
}
