// Package clustertest makes clusters of real nodes over a network in memory, whose links can be cut, healed and slowed,
// for tests in real or virtual time.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Network connects hosts by name. A link that is cut loses nothing and delivers nothing: what was written arrives once it
// is healed, as with TCP.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	links     map[link]*state
	lives     map[string]*life // of the hosts that run
	lost      map[string]*life // of those that vanished and have not come back
	halves    map[*half]struct{}
	changed   chan struct{}
	port      int
}

type link struct{ from, to string }

type state struct {
	cut    bool
	delay  time.Duration
	jitter time.Duration
}

// under is how long what is sent now will be under way.
func (s state) under() time.Duration {
	if s.jitter == 0 {
		return s.delay
	}
	return s.delay + rand.N(s.jitter)
}

// NewNetwork is a network where everybody reaches everybody at once.
func NewNetwork() *Network {
	return &Network{
		listeners: map[string]*listener{}, links: map[link]*state{}, halves: map[*half]struct{}{},
		lives: map[string]*life{}, lost: map[string]*life{},
		changed: make(chan struct{}), port: 40_000,
	}
}

// Host is one machine on it, until it crashes.
type Host struct {
	network *Network
	name    string
	life    *life
}

// Host has addresses name:port. After a crash of that name it is the machine that was started again.
func (n *Network) Host(name string) Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.lives[name]
	if l == nil {
		l = &life{conns: map[*conn]struct{}{}}
		n.lives[name] = l
	}
	return Host{n, name, l}
}

func (n *Network) link(from, to string) *state {
	s := n.links[link{from, to}]
	if s == nil {
		s = &state{}
		n.links[link{from, to}] = s
	}
	return s
}

// set changes links and wakes whoever waits for one.
func (n *Network) set(change func()) {
	n.mu.Lock()
	change()
	close(n.changed)
	n.changed = make(chan struct{})
	var halves []*half
	for h := range n.halves {
		halves = append(halves, h)
	}
	n.mu.Unlock()
	for _, h := range halves {
		h.wake()
	}
}

// Cut stops everything between two hosts, both ways.
func (n *Network) Cut(a, b string) {
	n.set(func() { n.link(a, b).cut, n.link(b, a).cut = true, true })
}

// CutOneWay stops what one host sends to another.
func (n *Network) CutOneWay(from, to string) {
	n.set(func() { n.link(from, to).cut = true })
}

// Heal undoes Cut.
func (n *Network) Heal(a, b string) {
	n.set(func() { n.link(a, b).cut, n.link(b, a).cut = false, false })
}

// Isolate cuts a host off from all others named.
func (n *Network) Isolate(host string, others ...string) {
	for _, other := range others {
		if other != host {
			n.Cut(host, other)
		}
	}
}

// HealAll undoes every Cut, Delay and Jitter.
func (n *Network) HealAll() {
	n.set(func() { clear(n.links) })
}

// Delay makes what is sent from one host to another from now on arrive later.
func (n *Network) Delay(from, to string, by time.Duration) {
	n.set(func() { n.link(from, to).delay = by })
}

// Jitter makes each thing sent from one host to another take up to so much longer. What goes over one connection keeps its
// order, what goes over two does not.
func (n *Network) Jitter(from, to string, by time.Duration) {
	n.set(func() { n.link(from, to).jitter = by })
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

type listener struct {
	host    Host
	at      addr
	backlog chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

// Listen takes an address of this host; port 0 takes a free one.
func (h Host) Listen(_, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		n.port++
		port = strconv.Itoa(n.port)
	}
	l := &listener{host: h, at: addr(net.JoinHostPort(h.name, port)), backlog: make(chan net.Conn, 128), closed: make(chan struct{})}
	if h.life.over {
		return nil, net.ErrClosed
	}
	if n.listeners[string(l.at)] != nil {
		return nil, fmt.Errorf("listen %s: address in use", l.at)
	}
	n.listeners[string(l.at)] = l
	return l, nil
}

func (l *listener) Addr() net.Addr { return l.at }

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
		if n.listeners[string(l.at)] == l {
			delete(n.listeners, string(l.at))
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

// Dial reaches an address from this host. Nobody listening is refused at once; over a cut link it waits.
func (h Host) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	to, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n := h.network
	for {
		n.mu.Lock()
		cut, changed := n.link(h.name, to).cut || n.link(to, h.name).cut || n.lost[to] != nil, n.changed
		dead := h.life.over
		l := n.listeners[address]
		n.port++
		local := addr(net.JoinHostPort(h.name, strconv.Itoa(n.port)))
		n.mu.Unlock()
		if dead {
			return nil, net.ErrClosed
		}
		if cut {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, os.ErrDeadlineExceeded
			}
		}
		if l == nil {
			return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
		}
		up, down := n.half(h.name, to), n.half(to, h.name)
		up.back, down.back = down, up
		ours := &conn{local: local, remote: l.at, read: down, write: up, life: h.life}
		theirs := &conn{local: l.at, remote: local, read: up, write: down, life: l.host.life}
		if !n.enter(ours, theirs) {
			ours.closeEnds()
			theirs.closeEnds()
			return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
		}
		select {
		case l.backlog <- theirs:
			return ours, nil
		case <-l.closed:
			err = fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
		case <-ctx.Done():
			err = ctx.Err()
		}
		return nil, errors.Join(err, ours.Close(), theirs.Close())
	}
}
