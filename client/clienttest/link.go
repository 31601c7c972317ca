package clienttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// link is what lies between a client and the node, and the host that the client runs on.
type link struct {
	cluster *Cluster

	mu    sync.Mutex
	cut   bool
	dead  bool
	conns map[*tracked]struct{}
	ports []*port // for pings
}

func (c *Cluster) link(name string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	name = c.prefix + name
	if c.links[name] == nil {
		c.links[name] = &link{cluster: c, conns: make(map[*tracked]struct{})}
	}
	return c.links[name]
}

// Disconnect cuts the client with this name off: nothing arrives any more, on either side, and the node is not told.
func (c *Cluster) Disconnect(name string) {
	c.CutGossip(name)
	c.link(name).disconnect()
}

func (l *link) disconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for conn := range l.conns {
		conn.sever()
	}
}

// Reconnect lets the client with this name in again. The node learns now that the old connections are over.
func (c *Cluster) Reconnect(name string) {
	c.HealGossip(name)
	l := c.link(name)
	l.mu.Lock()
	l.cut = false
	l.mu.Unlock()
	l.bury(false)
}

// Kill does to the client with this name what kill -9 does: its connections end and its port refuses, without a word of
// its own. The client itself lives on in the test and does not know; it reaches nothing any more.
func (c *Cluster) Kill(name string) {
	c.CutGossip(name)
	l := c.link(name)
	l.mu.Lock()
	l.cut, l.dead = true, true
	ports := l.ports
	for conn := range l.conns {
		conn.sever()
	}
	l.mu.Unlock()
	for _, p := range ports {
		_ = p.Close()
	}
	l.bury(true)
}

// bury ends the connections that were severed, for the node too.
func (l *link) bury(all bool) {
	l.mu.Lock()
	var severed []*tracked
	for conn := range l.conns {
		if all || conn.severed {
			severed = append(severed, conn)
			delete(l.conns, conn)
		}
	}
	l.mu.Unlock()
	for _, conn := range severed {
		_ = conn.Conn.Close()
	}
}

var errCut = errors.New("disconnected by the test")

func (l *link) dial(ctx context.Context, _ string) (net.Conn, error) {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		return nil, errCut
	}
	conn, err := l.cluster.clients.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = conn.Close()
		return nil, errCut
	}
	t := &tracked{Conn: conn, link: l}
	l.conns[t] = struct{}{}
	return t, nil
}

// tracked is a connection that can be severed without the other side's knowing, and is forgotten when it is closed.
type tracked struct {
	net.Conn
	link    *link
	severed bool // guarded by the link's mu
}

// sever is called under the link's mu.
func (t *tracked) sever() {
	t.severed = true
	_ = t.Conn.SetDeadline(time.Now()) // who waits wakes up
}

func (t *tracked) cut() bool {
	t.link.mu.Lock()
	defer t.link.mu.Unlock()
	return t.severed
}

func (t *tracked) Read(p []byte) (int, error) {
	if t.cut() {
		return 0, errCut
	}
	n, err := t.Conn.Read(p)
	if err != nil && t.cut() {
		err = errCut
	}
	return n, err
}

func (t *tracked) Write(p []byte) (int, error) {
	if t.cut() {
		return 0, errCut
	}
	return t.Conn.Write(p)
}

// Close of a severed connection is heard of by the node once the link is whole again.
func (t *tracked) Close() error {
	t.link.mu.Lock()
	severed := t.severed
	if !severed {
		delete(t.link.conns, t)
	}
	t.link.mu.Unlock()
	if severed {
		return nil
	}
	return t.Conn.Close()
}

// port is where a client answers pings.
type port struct {
	*bufconn.Listener
	at   net.Addr
	link *link
}

func (p *port) Addr() net.Addr { return p.at }

func (p *port) Close() error {
	p.link.cluster.mu.Lock()
	delete(p.link.cluster.ports, p.at.String())
	p.link.cluster.mu.Unlock()
	return p.Listener.Close()
}

type address string

func (address) Network() string  { return "bufconn" }
func (a address) String() string { return string(a) }

// listen makes a port for pings, on the host that every connection here comes from.
func (l *link) listen(context.Context, string) (net.Listener, error) {
	c := l.cluster
	p := &port{Listener: bufconn.Listen(1 << 10), link: l}
	c.mu.Lock()
	c.numbered++
	p.at = address(net.JoinHostPort(c.clients.Addr().String(), fmt.Sprint(c.numbered)))
	c.ports[p.at.String()] = p
	c.mu.Unlock()
	l.mu.Lock()
	l.ports = append(l.ports, p)
	dead := l.dead
	l.mu.Unlock()
	if dead {
		_ = p.Close()
		return nil, errCut
	}
	return p, nil
}

// ping is the node's way to a port.
func (c *Cluster) ping(ctx context.Context, _, at string) (net.Conn, error) {
	c.mu.Lock()
	p := c.ports[at]
	c.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("reach %s: %w", at, syscall.ECONNREFUSED)
	}
	p.link.mu.Lock()
	cut := p.link.cut
	p.link.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return p.DialContext(ctx)
}
