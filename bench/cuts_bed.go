package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// cutBed is a cluster of nodes on hosts of their own, and game servers on another, all of whose sessions save again and
// again.
type cutBed struct {
	fabric  *fabric
	nodes   []*node
	servers []*gameServer
	lost    int // sessions, by the last count
}

func makeCutBed(ctx context.Context, program, dir string) (_ *cutBed, err error) {
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	b := &cutBed{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if b.fabric, err = openFabric(bedNodes + 1); err != nil {
		return nil, err
	}
	if err := b.startNodes(program, dir); err != nil {
		return nil, err
	}
	if _, err := leader(ctx, b.nodes); err != nil {
		return nil, err
	}
	return b, b.startServers(ctx, dir)
}

func (b *cutBed) startNodes(program, dir string) error {
	at := func(host int, port uint16) string {
		return netip.AddrPortFrom(b.fabric.hosts[host].address, port).String()
	}
	var peers []string
	for host := firstNodeHost; host <= lastNodeHost; host++ {
		peers = append(peers, at(host, 7401))
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	for host := firstNodeHost; host <= lastNodeHost; host++ {
		n := &node{
			program: program, folder: filepath.Join(dir, fmt.Sprintf("n%d", host)), clients: at(host, 7400), peers: at(host, 7401), nodes: peers,
			within: b.fabric.hosts[host],
			flags: []string{"--insecure", "--bind-gossip", at(host, 7402), "--gossip-key", base64.StdEncoding.EncodeToString(key),
				"--bind-server-gossip", at(host, 7404), "--server-gossip-key", base64.StdEncoding.EncodeToString(serverKey())},
		}
		conn, err := dialNode(n.clients)
		if err != nil {
			return err
		}
		n.conn = conn
		b.nodes = append(b.nodes, n)
		if err := n.start(); err != nil {
			return err
		}
	}
	return nil
}

// startServers starts the game servers, opens their sessions, and lets these save from then on.
func (b *cutBed) startServers(ctx context.Context, dir string) error {
	home := b.fabric.hosts[serverHost]
	for i := range cutServers {
		gossip := netip.AddrPortFrom(home.address, gamePort+uint16(i)).String()
		s, err := startGameServer(dir, fmt.Sprintf("game-%d", i+1), clientsOf(b.nodes), gossip, home)
		if err != nil {
			return err
		}
		b.servers = append(b.servers, s)
	}
	for i, s := range b.servers {
		if err := s.awaitReady(ctx); err != nil {
			return err
		}
		if _, err := s.tell(ctx, order{Do: doStart, Keys: cutKeys(i)}); err != nil {
			return fmt.Errorf("open sessions: %w", err)
		}
		if _, err := s.tell(ctx, order{Do: doScribble, Keys: cutKeys(i), Every: cutSaves}); err != nil {
			return err
		}
	}
	return nil
}

func cutKeys(server int) []string {
	keys := make([]string, cutSessions)
	for i := range keys {
		keys[i] = fmt.Sprintf("player-%d-%d", server, i)
	}
	return keys
}

// try cuts and heals once.
func (b *cutBed) try(ctx context.Context, t *cutTrial) error {
	leads, err := leader(ctx, b.nodes)
	if err != nil {
		return err
	}
	if _, err := b.savedAfter(ctx, thisMoment(), true); err != nil {
		return fmt.Errorf("before the cut: %w", err)
	}
	for i, n := range b.nodes {
		if n == leads {
			t.kind.apply(b.fabric, firstNodeHost+i)
		}
	}
	pause(ctx, t.Length)
	t.Dropped = b.fabric.heal()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if t.Recovered, err = b.savedAfter(ctx, thisMoment(), false); err != nil {
		return fmt.Errorf("after the heal: %w", err)
	}
	// All sessions of each, not only the first, go on; the ones that were lost say so here.
	if _, err := b.savedAfter(ctx, thisMoment(), true); err != nil {
		return fmt.Errorf("some time after the heal: %w", err)
	}
	before := b.lost
	b.lost = 0
	for _, s := range b.servers {
		told, err := s.tell(ctx, order{Do: doCount})
		if err != nil {
			return err
		}
		b.lost += told[0].Count.Lost
	}
	t.Lost = b.lost - before
	return nil
}

// savedAfter is how long after a moment each game server's first save was acknowledged, or with all that of the last of its
// sessions.
func (b *cutBed) savedAfter(ctx context.Context, after moment, all bool) (passed []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	answers := make([]<-chan told, len(b.servers))
	for i, s := range b.servers {
		moments := make(map[string]moment)
		for _, key := range cutKeys(i) {
			moments[key] = after
		}
		if answers[i], err = s.order(order{Do: doAcked, Keys: cutKeys(i), After: moments}); err != nil {
			return nil, err
		}
	}
	for i, s := range b.servers {
		told, err := s.collect(ctx, answers[i])
		if err != nil {
			return nil, err
		}
		first, last := told[0].Ended, told[0].Ended
		for _, t := range told {
			first, last = min(first, t.Ended), max(last, t.Ended)
		}
		if all {
			first = last
		}
		passed = append(passed, first.since(after))
	}
	return passed, nil
}

// close ends every process, and the network.
func (b *cutBed) close() {
	for _, s := range b.servers {
		s.kill()
	}
	for _, n := range b.nodes {
		n.kill()
		_ = n.conn.Close()
	}
	if b.fabric != nil {
		b.fabric.close()
		b.fabric = nil
	}
	b.servers, b.nodes = nil, nil
}
