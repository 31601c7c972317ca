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

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// cutBed is a cluster of nodes on hosts of their own, and game servers on another, all of whose sessions save again and
// again.
type cutBed struct {
	fabric  *hostSwitch
	nodes   []*nodeProcess
	servers []*gameServer
	lost    int // sessions, by the last count
}

func makeCutBed(ctx context.Context, program, dir string) (_ *cutBed, err error) {
	ctx, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	b := &cutBed{}
	defer func() {
		if err != nil {
			b.closeAll()
		}
	}()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if b.fabric, err = openHostSwitch(bedNodes + 1); err != nil {
		return nil, err
	}
	if err := b.startNodes(program, dir); err != nil {
		return nil, err
	}
	if _, err := findLeader(ctx, b.nodes); err != nil {
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
		n, err := observeNode(&nodeproc.Node{
			Program: program, Folder: filepath.Join(dir, fmt.Sprintf("n%d", host)), Members: peers, StartIn: b.fabric.hosts[host].startProcess,
			Addresses: nodeproc.Addresses{Clients: at(host, 7400), Nodes: at(host, 7401), Gossip: at(host, 7402), ServerGossip: at(host, 7404)},
			Flags: []string{"--insecure", "--gossip-key", base64.StdEncoding.EncodeToString(key),
				"--server-gossip-key", base64.StdEncoding.EncodeToString(serverKey())},
		})
		if err != nil {
			return err
		}
		b.nodes = append(b.nodes, n)
		if err := n.Start(); err != nil {
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
		if _, err := s.orderAndWait(ctx, botOrder{Do: doStart, Keys: cutKeys(i)}); err != nil {
			return fmt.Errorf("open sessions: %w", err)
		}
		if _, err := s.orderAndWait(ctx, botOrder{Do: doScribble, Keys: cutKeys(i), Every: cutSaves}); err != nil {
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

// runTrial cuts and heals once.
func (b *cutBed) runTrial(ctx context.Context, t *cutTrial) error {
	leads, err := findLeader(ctx, b.nodes)
	if err != nil {
		return err
	}
	if _, err := b.waitForSaves(ctx, monotonicNow(), true); err != nil {
		return fmt.Errorf("before the cut: %w", err)
	}
	for i, n := range b.nodes {
		if n == leads {
			t.kind.apply(b.fabric, firstNodeHost+i)
		}
	}
	sleepUnlessDone(ctx, t.Length)
	t.Dropped = b.fabric.healAll()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if t.Recovered, err = b.waitForSaves(ctx, monotonicNow(), false); err != nil {
		return fmt.Errorf("after the heal: %w", err)
	}
	// All sessions of each, not only the first, go on; the ones that were lost say so here.
	if _, err := b.waitForSaves(ctx, monotonicNow(), true); err != nil {
		return fmt.Errorf("some time after the heal: %w", err)
	}
	before := b.lost
	b.lost = 0
	for _, s := range b.servers {
		told, err := s.orderAndWait(ctx, botOrder{Do: doCount})
		if err != nil {
			return err
		}
		b.lost += told[0].Count.Lost
	}
	t.Lost = b.lost - before
	return nil
}

// waitForSaves is how long after a moment each game server's first save was acknowledged, or with all that of the last of its
// sessions.
func (b *cutBed) waitForSaves(ctx context.Context, after monotonicTime, all bool) (passed []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	answers := make([]<-chan botAnswer, len(b.servers))
	for i, s := range b.servers {
		moments := make(map[string]monotonicTime)
		for _, key := range cutKeys(i) {
			moments[key] = after
		}
		if answers[i], err = s.sendOrder(botOrder{Do: doAcked, Keys: cutKeys(i), After: moments}); err != nil {
			return nil, err
		}
	}
	for i, s := range b.servers {
		told, err := s.collectAnswers(ctx, answers[i])
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

// closeAll ends every process, and the network.
func (b *cutBed) closeAll() {
	for _, s := range b.servers {
		s.killProcess()
	}
	closeNodes(b.nodes)
	if b.fabric != nil {
		b.fabric.closeAll()
		b.fabric = nil
	}
	b.servers, b.nodes = nil, nil
}
