package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Wire dials the nodes and counts what goes over the connections. Saves go to the leader, so the busiest link shows who
// leads.
type Wire struct {
	dial func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP

	mu    sync.Mutex
	links map[string]*meter
}

// Link is the traffic with one node since the last call of Links, in bytes.
type Link struct {
	Addr    string
	Out, In int64
}

type meter struct{ out, in atomic.Int64 }

// Dial is what client.Config.Dial wants.
func (w *Wire) Dial(ctx context.Context, addr string) (net.Conn, error) {
	dial := w.dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
	}
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, w.meter(addr)}, nil
}

// Links are the nodes that were ever reached, by address.
func (w *Wire) Links() []Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	var links []Link
	for addr, m := range w.links {
		links = append(links, Link{addr, m.out.Swap(0), m.in.Swap(0)})
	}
	slices.SortFunc(links, func(a, b Link) int { return strings.Compare(a.Addr, b.Addr) })
	return links
}

func (w *Wire) meter(addr string) *meter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.links == nil {
		w.links = map[string]*meter{}
	}
	if w.links[addr] == nil {
		w.links[addr] = &meter{}
	}
	return w.links[addr]
}

type countedConn struct {
	net.Conn
	meter *meter
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.in.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.meter.out.Add(int64(n))
	return n, err
}
