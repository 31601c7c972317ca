package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
)

const (
	// goOnLimit is how soon writes must go on without the leader. Three seconds is the aim; a machine under load gets more.
	goOnLimit = 10 * time.Second

	startLimit = 60 * time.Second
)

// TestKill runs three nodes as processes of their own, from flags alone, under a load that keeps count of what was
// acknowledged to it, and kills them.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	k := newKilled(t)
	for i := range k.nodes {
		k.start(t, i)
	}
	k.allReady(t)
	load := startLoad(t, k.clients()...)

	load.more(t, 30)
	victim := k.leader(t)
	killed := k.kill(t, victim)
	t.Logf("kill -9 of the leader, node %d: every session saved again after %v", victim+1, load.goOn(t, killed).Round(time.Millisecond))
	load.check(t)
	load.more(t, 30)

	k.start(t, victim)
	k.allReady(t)
	load.more(t, 30)
	for i := range k.nodes {
		k.kill(t, i)
	}
	restarted := time.Now()
	for i := range k.nodes {
		k.start(t, i)
	}
	k.allReady(t)
	load.check(t)
	t.Logf("kill -9 of all and restart: every session saved again after %v", load.goOn(t, restarted).Round(time.Millisecond))
	load.more(t, 30)
	load.stop(t)
	load.check(t)

	k.agree(t)
}

// killed is a cluster of processes that may be killed.
type killed struct {
	program string
	nodes   []*killedNode
}

type killedNode struct {
	clients, nodes, gossip, http string
	folder                       string
	log                          *lockedBuffer

	process *exec.Cmd
	ready   chan string
	ended   chan struct{}
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	k := &killed{program: buildProgram(t)}
	const nodes, ports = 3, 4
	free := freeAddresses(t, nodes*ports)
	for i := range nodes {
		a := free[i*ports:]
		k.nodes = append(k.nodes, &killedNode{clients: a[0], nodes: a[1], gossip: a[2], http: a[3], folder: filepath.Join(t.TempDir(), "data"), log: &lockedBuffer{}})
	}
	t.Cleanup(func() {
		for i, n := range k.nodes {
			if n.process != nil {
				_ = n.process.Process.Kill() // it may have ended
				<-n.ended
			}
			if t.Failed() {
				t.Logf("log of node %d:\n%s", i+1, n.log)
			}
		}
	})
	return k
}

func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "profilenode")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

func (k *killed) clients() (addresses []string) {
	for _, n := range k.nodes {
		addresses = append(addresses, n.clients)
	}
	return addresses
}

func (k *killed) start(t *testing.T, i int) {
	t.Helper()
	n := k.nodes[i]
	var peers []string
	for _, n := range k.nodes {
		peers = append(peers, n.nodes)
	}
	n.process = exec.Command(k.program, "serve", "--data", n.folder, "--bind", n.clients, "--bind-nodes", n.nodes,
		"--bind-gossip", n.gossip, "--bind-http", n.http, "--nodes", strings.Join(peers, ","), "--exit-with-stdin")
	// The end of stdin ends the process even when this one dies before its cleanup.
	if _, err := n.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	n.process.Env = dropSettings(os.Environ())
	out := newLineReader()
	n.process.Stdout, n.process.Stderr, n.ready = out, n.log, out.lines
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
	process, ended := n.process, make(chan struct{})
	n.ended = ended
	go func() {
		_ = process.Wait() // killed, most of the time
		close(ended)
	}()
}

func (k *killed) allReady(t *testing.T) {
	t.Helper()
	limit := time.After(startLimit)
	for i, n := range k.nodes {
		if n.ready == nil {
			continue
		}
		select {
		case line := <-n.ready:
			n.ready = nil
			if !strings.HasPrefix(line, "ready ") {
				t.Fatalf("node %d says %q, want a ready line", i+1, line)
			}
		case <-n.ended:
			t.Fatalf("node %d ended", i+1)
		case <-limit:
			t.Fatalf("node %d is not ready after %v", i+1, startLimit)
		}
	}
}

// kill ends a node as a power cut would end its process, and returns when.
func (k *killed) kill(t *testing.T, i int) time.Time {
	t.Helper()
	at := time.Now()
	if err := k.nodes[i].process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-k.nodes[i].ended
	return at
}

func (k *killed) ask(t *testing.T, args ...string) asked {
	t.Helper()
	return (&served{clients: strings.Join(k.clients(), ",")}).ask(t, "", args...)
}

func (k *killed) leader(t *testing.T) int {
	t.Helper()
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var status statusJSON
		decode(t, k.ask(t, "status", "--json"), &status)
		for _, node := range status.Nodes {
			for i, n := range k.nodes {
				if status.Leader != "" && node.ID == status.Leader && node.Clients == n.clients {
					return i
				}
			}
		}
	}
	t.Fatal("nobody leads")
	return 0
}

// agree fails the test unless every node holds the same.
func (k *killed) agree(t *testing.T) {
	t.Helper()
	got := k.ask(t, "digest", "--json")
	var digests digestsJSON
	if err := json.Unmarshal([]byte(got.out), &digests); err != nil {
		t.Fatalf("%v in %s%s", err, got.out, got.errs)
	}
	if got.code != exitOK || !digests.Agree || len(digests.Nodes) != len(k.nodes) {
		t.Fatalf("digests do not agree:\n%s%s", got.out, got.errs)
	}
	t.Logf("digests of %d nodes agree: %s", len(digests.Nodes), digests.Nodes[0].Digest)
}

// load is a few players, each saving a number that rises by one, as fast as it goes.
type load struct {
	seeds   []string
	players []*player
	cancel  context.CancelFunc
	running sync.WaitGroup
}

type player struct {
	key     string
	profile *client.Profile[score]

	mu    sync.Mutex
	tried int       // the highest number that a Save was begun with
	acked int       // the highest number that a Save was acknowledged with
	began time.Time // when that Save was begun
	at    time.Time // when it was acknowledged
	over  error
}

func startLoad(t *testing.T, seeds ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{seeds: seeds, cancel: cancel}
	game := openClient(t, seeds...)
	for i := range 4 {
		key := fmt.Sprintf("player%d", i)
		p := &player{key: key, profile: startSession(t, game, key)}
		l.players = append(l.players, p)
		l.running.Go(func() { p.play(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		l.running.Wait()
	})
	return l
}

func (p *player) play(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		began := time.Now()
		p.mu.Lock()
		p.tried = n
		p.mu.Unlock()
		err := p.profile.Update(func(s *score) { s.N = n })
		if err == nil {
			err = p.profile.Save(ctx)
		}
		p.mu.Lock()
		if err == nil {
			p.acked, p.began, p.at = n, began, time.Now()
		}
		if errors.Is(err, client.ErrSessionOver) {
			p.over = err
		}
		over := p.over
		p.mu.Unlock()
		if over != nil {
			return
		}
	}
}

// more waits until every player has saved so many times more.
func (l *load) more(t *testing.T, times int) {
	t.Helper()
	limit := time.Now().Add(startLimit)
	for _, p := range l.players {
		for first, saves := -1, 0; saves < times; time.Sleep(5 * time.Millisecond) {
			p.mu.Lock()
			acked, over := p.acked, p.over
			p.mu.Unlock()
			if first < 0 {
				first = acked
			}
			saves = acked - first
			if over != nil {
				t.Fatalf("%s lost its session: %v", p.key, over)
			}
			if time.Now().After(limit) {
				t.Fatalf("%s saved %d times in %v, want %d", p.key, saves, startLimit, times)
			}
		}
	}
}

// goOn waits until every player has been acknowledged a save that it began after a moment, and returns how long after it
// the last of them was.
func (l *load) goOn(t *testing.T, after time.Time) (gap time.Duration) {
	t.Helper()
	limit := time.Now().Add(goOnLimit)
	for _, p := range l.players {
		for {
			p.mu.Lock()
			began, at, over := p.began, p.at, p.over
			p.mu.Unlock()
			if over != nil {
				t.Fatalf("%s lost its session: %v", p.key, over)
			}
			if began.After(after) {
				gap = max(gap, at.Sub(after))
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("%s could not save for %v", p.key, time.Since(after).Round(time.Millisecond))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return gap
}

// check fails the test unless what was acknowledged is there, read by somebody who had no part in it.
func (l *load) check(t *testing.T) {
	t.Helper()
	reader := &served{clients: strings.Join(l.seeds, ",")}
	for _, p := range l.players {
		p.mu.Lock()
		acked := p.acked
		p.mu.Unlock()
		var got score
		decode(t, reader.ask(t, "", "get", store, p.key), &got)
		p.mu.Lock()
		tried := p.tried
		p.mu.Unlock()
		if got.N < acked || got.N > tried {
			t.Errorf("%s: the store holds %d, acknowledged was %d and tried %d", p.key, got.N, acked, tried)
		}
	}
}

// stop lets every player finish its last save.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.running.Wait()
	var told bytes.Buffer
	for _, p := range l.players {
		fmt.Fprintf(&told, " %s %d of %d", p.key, p.acked, p.tried)
	}
	t.Logf("acknowledged:%s", told.String())
}
