package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

const (
	bedNodes    = 3
	bedServers  = 4
	bedSessions = 100 // of each game server

	loopback = "127.0.0.1"
	gamePort = 7405 // for gossip, of the first game server behind a link; nobody else has ports there
)

// bed is what a phase is tried on: a cluster, and game servers with sessions.
type bed struct {
	dir    string
	link   *link  // nil: everything is on loopback
	host   string // of the nodes
	within int    // so many game servers live behind the link
	nodes  []*node

	rumours map[uint16]bool // ports of game servers' gossip, of those behind the link and of the nodes
	servers []*gameServer
	lives   int // game servers that were ever started, for their names
}

// makeBed starts a cluster and its game servers. With a link, the nodes are at this side's address of it, and the first
// game servers, so many as are to be within, live behind it.
func makeBed(ctx context.Context, program, dir string, l *link, within int) (_ *bed, err error) {
	b := &bed{dir: dir, link: l, within: within, servers: make([]*gameServer, bedServers)}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	host := loopback
	if l != nil {
		host = l.outside.String()
	}
	b.host = host
	if b.nodes, err = nodesAt(program, dir, host); err != nil {
		return nil, err
	}
	b.rumours = make(map[uint16]bool)
	for _, n := range b.nodes {
		b.rumours[n.rumours] = true
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	if _, err := leader(ctx, b.nodes); err != nil {
		return nil, err
	}
	var all []int
	for i := range b.servers {
		all = append(all, i)
	}
	return b, b.enter(ctx, all...)
}

// nodesAt prepares nodes whose ports for clients and gossip are on a host.
func nodesAt(program, dir, host string) ([]*node, error) {
	nodes, err := newNodes(program, dir, bedNodes)
	if err != nil {
		return nil, err
	}
	gossip, err := freeAddresses(2 * bedNodes)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	servers := base64.StdEncoding.EncodeToString(serverKey())
	for i, n := range nodes {
		n.flags = []string{"--bind-gossip", at(host, gossip[i]), "--bind-http", "",
			"--bind-server-gossip", at(host, gossip[bedNodes+i]), "--server-gossip-key", servers}
		n.rumours = netip.MustParseAddrPort(gossip[bedNodes+i]).Port()
		if host == loopback {
			continue
		}
		n.flags = append(n.flags, "--insecure", "--gossip-key", base64.StdEncoding.EncodeToString(key))
		n.clients = at(host, n.clients)
		_ = n.conn.Close() // it was never used
		n.conn, err = dialNode(n.clients)
		if err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// serverKey is the game servers' on every bed: what is measured here is nobody's secret.
func serverKey() []byte { return []byte("of the game servers of one bench") }

// at is an address with another host.
func at(host, address string) string {
	_, port, _ := net.SplitHostPort(address) // we made it
	return net.JoinHostPort(host, port)
}

// close ends every process.
func (b *bed) close() {
	for _, s := range b.servers {
		if s != nil {
			s.kill()
		}
	}
	for _, n := range b.nodes {
		n.kill()
		_ = n.conn.Close()
	}
}

// home are the profiles that a game server has sessions of while nothing is wrong.
func home(server int) []string {
	keys := make([]string, bedSessions)
	for i := range keys {
		keys[i] = fmt.Sprintf("player-%d-%03d", server, i)
	}
	return keys
}

// place is where a game server lives, nil for beside the nodes, and where it gossips.
func (b *bed) place(server int) (within place, rumours string) {
	if b.link == nil || server >= b.within {
		return nil, at(b.host, ":0")
	}
	port := gamePort + uint16(server)
	b.rumours[port] = true
	return b.link, netip.AddrPortFrom(b.link.inside, port).String()
}

// enter starts game servers and lets each open its sessions.
func (b *bed) enter(ctx context.Context, which ...int) error {
	for _, i := range which {
		within, rumours := b.place(i)
		b.lives++
		s, err := startGameServer(b.dir, fmt.Sprintf("game-%d-%d", i+1, b.lives), clientsOf(b.nodes), rumours, within)
		if err != nil {
			return err
		}
		b.servers[i] = s
	}
	for _, i := range which {
		if err := b.servers[i].awaitReady(ctx); err != nil {
			return err
		}
	}
	return b.settle(ctx, which...)
}

// settle lets game servers open sessions of their own profiles, whoever has them.
func (b *bed) settle(ctx context.Context, which ...int) error {
	answers := make([]<-chan told, len(which))
	for at, i := range which {
		var err error
		if answers[at], err = b.servers[i].order(order{Do: doStart, Keys: home(i)}); err != nil {
			return err
		}
	}
	for at, i := range which {
		if _, err := b.servers[i].collect(ctx, answers[at]); err != nil {
			return fmt.Errorf("open sessions: %w", err)
		}
	}
	return nil
}

// others are the game servers but one.
func (b *bed) others(but int) (others []int) {
	for i := range b.servers {
		if i != but {
			others = append(others, i)
		}
	}
	return others
}

// leader is the node that leads, of those that run.
func (b *bed) leader(ctx context.Context) (*node, error) {
	return leader(ctx, slices.DeleteFunc(slices.Clone(b.nodes), func(n *node) bool { return n.process == nil }))
}

// caughtUp waits until a node that was started again has applied what the leader has.
func (b *bed) caughtUp(ctx context.Context, n *node) error {
	l, err := b.leader(ctx)
	if err != nil {
		return err
	}
	leads, err := l.status(ctx)
	if err != nil {
		return fmt.Errorf("ask the leader: %w", err)
	}
	for {
		if s, err := n.status(ctx); err == nil && s.GetApplied() >= leads.GetApplied() {
			return nil
		}
		n.conn.ResetConnectBackoff()
		if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return errors.New("a node that was started again does not catch up")
		}
	}
}
