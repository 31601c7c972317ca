// Package gossiptest is a network in memory for pools of package gossip, so that they run in virtual time.
package gossiptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Network carries packets and streams in memory. Two addresses reach each other while they are on the same side.
type Network struct {
	mu    sync.Mutex
	ports map[string]*port
	sides map[string]int

	opened atomic.Int64 // streams
}

// New is made before the pools on it, so that its cleanup comes last: probes under way end by themselves, in time.
func New(t testing.TB) *Network {
	t.Cleanup(func() { time.Sleep(time.Minute) })
	return &Network{ports: make(map[string]*port), sides: make(map[string]int)}
}

var errUnreachable = errors.New("unreachable")

// Move puts addresses on a side. Everybody begins on side 0.
func (n *Network) Move(side int, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addresses {
		n.sides[a] = side
	}
}

// Opened counts the streams that anybody began to open.
func (n *Network) Opened() int64 { return n.opened.Load() }

func (n *Network) reach(from, to string) *port {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sides[from] != n.sides[to] {
		return nil
	}
	return n.ports[to]
}

// port is both listeners of one address.
type port struct {
	net     *Network
	address string
	packets chan packet
	streams chan net.Conn
	done    chan struct{}
	close   func()
}

type packet struct {
	data []byte
	from string
}

func (n *Network) open(address string) (*port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.ports[address]; p != nil {
		return p, nil
	}
	p := &port{
		net: n, address: address,
		packets: make(chan packet, 1024), streams: make(chan net.Conn, 64), done: make(chan struct{}),
	}
	p.close = sync.OnceFunc(func() {
		close(p.done)
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.ports, address)
	})
	n.ports[address] = p
	return p, nil
}

// Listen takes the port of an address for streams.
func (n *Network) Listen(_, address string) (net.Listener, error) {
	p, err := n.open(address)
	return streamPort{p}, err
}

// ListenPacket takes the port of an address for packets.
func (n *Network) ListenPacket(_, address string) (net.PacketConn, error) {
	p, err := n.open(address)
	return packetPort{p}, err
}

// DialFrom is one host's way to dial. An address that cannot be reached is silence, until the caller's patience ends.
func (n *Network) DialFrom(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, to string) (net.Conn, error) {
		n.opened.Add(1)
		p := n.reach(from, to)
		if p == nil {
			<-ctx.Done()
			return nil, fmt.Errorf("dial %s: %w", to, errUnreachable)
		}
		near, far := net.Pipe()
		select {
		case p.streams <- far:
			return near, nil
		case <-p.done:
			return nil, fmt.Errorf("dial %s: %w", to, errUnreachable)
		}
	}
}

type streamPort struct{ *port }

func (p streamPort) Accept() (net.Conn, error) {
	select {
	case conn := <-p.streams:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p streamPort) Close() error { p.close(); return nil }
func (p streamPort) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.address))
}

type packetPort struct{ *port }

func (p packetPort) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case got := <-p.packets:
		return copy(b, got.data), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(got.from)), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses what nobody receives, as UDP does.
func (p packetPort) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-p.done:
		return 0, net.ErrClosed
	default:
	}
	if far := p.net.reach(p.address, to.String()); far != nil {
		select {
		case far.packets <- packet{append([]byte(nil), b...), p.address}:
		default:
		}
	}
	return len(b), nil
}

func (p packetPort) Close() error { p.close(); return nil }
func (p packetPort) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.address))
}
func (p packetPort) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (p packetPort) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (p packetPort) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
