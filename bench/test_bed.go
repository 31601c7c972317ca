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

	"github.com/profilenode/profilenode/internal/nodeproc"
)

const (
	bedNodes    = 3
	bedServers  = 4
	bedSessions = 100 // of each game server

	loopback = "127.0.0.1"
	gamePort = 7405 // for gossip, of the first game server behind a link; nobody else has ports there
)

// testBed is what a phase is tried on: a cluster, and game servers with sessions.
type testBed struct {
	dir    string
	link   *netLink // nil: everything is on loopback
	host   string   // of the nodes
	within int      // so many game servers live behind the link
	nodes  []*nodeProcess

	rumours map[uint16]bool // ports of game servers' gossip, of those behind the link and of the nodes
	servers []*gameServer
	lives   int // game servers that were ever started, for their names
}

// makeTestBed starts a cluster and its game servers. With a link, the nodes are at this side's address of it, and the first
// game servers, so many as are to be within, live behind it.
func makeTestBed(ctx context.Context, program, dir string, l *netLink, within int) (_ *testBed, err error) {
	b := &testBed{dir: dir, link: l, within: within, servers: make([]*gameServer, bedServers)}
	defer func() {
		if err != nil {
			b.closeAll()
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
		b.rumours[netip.MustParseAddrPort(n.Addresses.ServerGossip).Port()] = true
		if err := n.Start(); err != nil {
			return nil, err
		}
	}
	if _, err := findLeader(ctx, b.nodes); err != nil {
		return nil, err
	}
	var all []int
	for i := range b.servers {
		all = append(all, i)
	}
	return b, b.enterServers(ctx, all...)
}

// nodesAt prepares nodes whose ports for clients and gossip are on a host.
func nodesAt(program, dir, host string) ([]*nodeProcess, error) {
	nodes, err := newNodes(program, dir, bedNodes)
	if err != nil {
		return nil, err
	}
	gossip, err := nodeproc.FreeAddresses(2 * bedNodes)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	servers := base64.StdEncoding.EncodeToString(serverKey())
	for i, n := range nodes {
		n.Addresses.Gossip, n.Addresses.ServerGossip = joinHostPort(host, gossip[i]), joinHostPort(host, gossip[bedNodes+i])
		n.Flags = []string{"--server-gossip-key", servers}
		if host == loopback {
			continue
		}
		n.Flags = append(n.Flags, "--insecure", "--gossip-key", base64.StdEncoding.EncodeToString(key))
		n.Addresses.Clients = joinHostPort(host, n.Addresses.Clients)
		_ = n.conn.Close() // it was never used
		n.conn, err = dialNode(n.Addresses.Clients)
		if err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// serverKey is the game servers' on every bed: what is measured here is nobody's secret.
func serverKey() []byte { return []byte("of the game servers of one bench") }

// joinHostPort is an address with another host.
func joinHostPort(host, address string) string {
	_, port, _ := net.SplitHostPort(address) // we made it
	return net.JoinHostPort(host, port)
}

// closeAll ends every process.
func (b *testBed) closeAll() {
	for _, s := range b.servers {
		if s != nil {
			s.killProcess()
		}
	}
	closeNodes(b.nodes)
}

// profilesOf are the profiles that a game server has sessions of while nothing is wrong.
func profilesOf(server int) []string {
	keys := make([]string, bedSessions)
	for i := range keys {
		keys[i] = fmt.Sprintf("player-%d-%03d", server, i)
	}
	return keys
}

// placeOf is where a game server lives, nil for beside the nodes, and where it gossips.
func (b *testBed) placeOf(server int) (within processPlace, rumours string) {
	if b.link == nil || server >= b.within {
		return nil, joinHostPort(b.host, ":0")
	}
	port := gamePort + uint16(server)
	b.rumours[port] = true
	return b.link, netip.AddrPortFrom(b.link.inside, port).String()
}

// enterServers starts game servers and lets each open its sessions.
func (b *testBed) enterServers(ctx context.Context, which ...int) error {
	for _, i := range which {
		within, rumours := b.placeOf(i)
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
	return b.waitUntilSettled(ctx, which...)
}

// waitUntilSettled lets game servers open sessions of their own profiles, whoever has them.
func (b *testBed) waitUntilSettled(ctx context.Context, which ...int) error {
	answers := make([]<-chan botAnswer, len(which))
	for at, i := range which {
		var err error
		if answers[at], err = b.servers[i].sendOrder(botOrder{Do: doStart, Keys: profilesOf(i)}); err != nil {
			return err
		}
	}
	for at, i := range which {
		if _, err := b.servers[i].collectAnswers(ctx, answers[at]); err != nil {
			return fmt.Errorf("open sessions: %w", err)
		}
	}
	return nil
}

// otherServers are the game servers but one.
func (b *testBed) otherServers(but int) (others []int) {
	for i := range b.servers {
		if i != but {
			others = append(others, i)
		}
	}
	return others
}

// findLeader is the node that leads, of those that run.
func (b *testBed) findLeader(ctx context.Context) (*nodeProcess, error) {
	return findLeader(ctx, slices.DeleteFunc(slices.Clone(b.nodes), func(n *nodeProcess) bool { return !n.Up() }))
}

// waitCaughtUp waits until a node that was started again has applied what the leader has.
func (b *testBed) waitCaughtUp(ctx context.Context, n *nodeProcess) error {
	l, err := b.findLeader(ctx)
	if err != nil {
		return err
	}
	leads, err := l.askStatus(ctx)
	if err != nil {
		return fmt.Errorf("ask the leader: %w", err)
	}
	for {
		if s, err := n.askStatus(ctx); err == nil && s.GetApplied() >= leads.GetApplied() {
			return nil
		}
		n.conn.ResetConnectBackoff()
		if sleepUnlessDone(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return errors.New("a node that was started again does not catch up")
		}
	}
}
