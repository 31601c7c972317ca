package clienttest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// link is a client's way to the node.
type link struct {
	cluster *Cluster

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

func (c *Cluster) link(name string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links[name] == nil {
		c.links[name] = &link{cluster: c, conns: make(map[net.Conn]struct{})}
	}
	return c.links[name]
}

// Disconnect ends the connections of the client with this name, and refuses new ones.
func (c *Cluster) Disconnect(name string) {
	l := c.link(name)
	l.mu.Lock()
	l.cut = true
	conns := l.conns
	l.conns = make(map[net.Conn]struct{})
	l.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
}

// Reconnect lets the client with this name in again.
func (c *Cluster) Reconnect(name string) {
	l := c.link(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
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
	cut = l.cut
	if !cut {
		l.conns[conn] = struct{}{}
	}
	l.mu.Unlock()
	if cut {
		_ = conn.Close()
		return nil, errCut
	}
	return &tracked{Conn: conn, link: l}, nil
}

// tracked is forgotten by its link when it is closed.
type tracked struct {
	net.Conn
	link *link
}

func (t *tracked) Close() error {
	t.link.mu.Lock()
	delete(t.link.conns, t.Conn)
	t.link.mu.Unlock()
	return t.Conn.Close()
}
