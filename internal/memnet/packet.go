package memnet

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// packetQueue is how many packets wait for a reader; those beyond it are lost, as in a kernel's buffer.
const packetQueue = 1024

type packet struct {
	data []byte
	from string
}

type packetPort struct {
	host   Host
	at     string
	queue  chan packet
	once   sync.Once
	closed chan struct{}
}

// ListenPacket takes an address of this host for packets; port 0 takes a free one.
func (h Host) ListenPacket(_, address string) (net.PacketConn, error) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	at, err := h.addressOf(address)
	if err != nil {
		return nil, err
	}
	if n.packets[at] != nil {
		return nil, fmt.Errorf("listen for packets %s: address in use", at)
	}
	p := &packetPort{host: h, at: at, queue: make(chan packet, packetQueue), closed: make(chan struct{})}
	n.packets[at] = p
	return p, nil
}

func (p *packetPort) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case got := <-p.queue:
		return copy(b, got.data), packetAddr(got.from), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses packets that cannot arrive, as UDP does.
func (p *packetPort) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	n := p.host.network
	n.mu.Lock()
	host, err := n.nameOf(to.String())
	state := n.linkStateLocked(p.host.name, host)
	n.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if state.cut {
		return len(b), nil
	}
	sent := packet{append([]byte(nil), b...), p.at}
	if delay := state.drawDelay(); delay > 0 {
		time.AfterFunc(delay, func() { n.deliver(sent, to.String()) })
	} else {
		n.deliver(sent, to.String())
	}
	return len(b), nil
}

func (n *Network) deliver(sent packet, to string) {
	n.mu.Lock()
	port := n.packets[to]
	n.mu.Unlock()
	if port == nil {
		return
	}
	select {
	case port.queue <- sent:
	default:
	}
}

func (p *packetPort) Close() error {
	p.once.Do(func() {
		n := p.host.network
		n.mu.Lock()
		if n.packets[p.at] == p {
			delete(n.packets, p.at)
		}
		n.mu.Unlock()
		close(p.closed)
	})
	return nil
}

func (p *packetPort) LocalAddr() net.Addr              { return packetAddr(p.at) }
func (p *packetPort) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (p *packetPort) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (p *packetPort) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
