package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/nodeproc"
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
	k.startAll(t)
	load := startLoad(t, k.Clients()...)

	load.more(t, 30)
	victim := k.leader(t)
	killed := k.kill(t, victim)
	t.Logf("kill -9 of the leader, node %d: every session saved again after %v", victim+1, load.goOn(t, killed).Round(time.Millisecond))
	load.check(t)
	load.more(t, 30)

	k.startAll(t)
	load.more(t, 30)
	for i := range k.Nodes {
		k.kill(t, i)
	}
	restarted := time.Now()
	k.startAll(t)
	load.check(t)
	t.Logf("kill -9 of all and restart: every session saved again after %v", load.goOn(t, restarted).Round(time.Millisecond))
	load.more(t, 30)
	load.stop(t)
	load.check(t)

	k.agree(t)
}

// killed is a cluster of processes that may be killed.
type killed struct{ *nodeproc.Cluster }

func newKilled(t *testing.T) *killed {
	t.Helper()
	c, err := nodeproc.NewCluster(buildProgram(t), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		n.Log = n.Folder + ".log"
	}
	t.Cleanup(func() {
		_ = c.Kill() // one may have ended
		for i, n := range c.Nodes {
			if text, err := os.ReadFile(n.Log); err == nil && t.Failed() {
				t.Logf("log of node %d:\n%s", i+1, text)
			}
		}
	})
	return &killed{c}
}

func buildProgram(t *testing.T) string {
	t.Helper()
	program, err := nodeproc.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// startAll starts every node that is not up, and waits until all are ready.
func (k *killed) startAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	if err := k.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// kill ends a node as a power cut would end its process, and returns when.
func (k *killed) kill(t *testing.T, i int) time.Time {
	t.Helper()
	at := time.Now()
	if k.Nodes[i].HasEnded() {
		t.Fatalf("node %d ended by itself", i+1)
	}
	if err := k.Nodes[i].Kill(); err != nil {
		t.Fatal(err)
	}
	return at
}

func (k *killed) ask(t *testing.T, args ...string) asked {
	t.Helper()
	return (&served{clients: strings.Join(k.Clients(), ",")}).ask(t, "", args...)
}

func (k *killed) leader(t *testing.T) int {
	t.Helper()
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var status statusJSON
		decode(t, k.ask(t, "status", "--json"), &status)
		for _, node := range status.Nodes {
			for i, n := range k.Nodes {
				if status.Leader != "" && node.ID == status.Leader && node.Clients == n.Addresses.Clients {
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
	if got.code != exitOK || !digests.Agree || len(digests.Nodes) != len(k.Nodes) {
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
