package clienttest_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// gossiping starts an owner and an heir that gossip; the owner has a session, and doubts are counted.
func gossiping(t *testing.T, story func(t *testing.T, c *clienttest.Cluster, p *client.Profile[player], heir *client.Store[player], doubts *atomic.Int64)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.StartGossiping(t)
		var doubts atomic.Int64
		owner, heir := gossips(c, "a"), gossips(c, "heir")
		owner.OnDoubt = func() { doubts.Add(1) }
		p, err := clienttest.Store(t, c.Open(t, owner), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		store := clienttest.Store(t, c.Open(t, heir), "players", player{})
		until(t, c, "a", "alive")
		until(t, c, "heir", "alive")
		story(t, c, p, store, &doubts)
	})
}

func gossips(c *clienttest.Cluster, name string) client.Config {
	config := c.Config(name)
	config.Gossip = c.Gossip(name)
	return config
}

// until waits for how a game server seems to the node.
func until(t *testing.T, c *clienttest.Cluster, name, want string) {
	t.Helper()
	for late := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := c.Seems(name)
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("%s seems %q to the node, want %q", name, got, want)
		}
	}
}

func TestALostHostIsTakenOverOnEvidence(t *testing.T) {
	gossiping(t, func(t *testing.T, c *clienttest.Cluster, p *client.Profile[player], heir *client.Store[player], _ *atomic.Int64) {
		c.Disconnect("a")
		at := time.Now()
		if _, err := heir.StartSession(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		// The last renewal may have come up to a second before the cut.
		if after := time.Since(at); after < 3500*time.Millisecond || after > 5*time.Second {
			t.Errorf("taken over after %v, want 3.5 to 5 s", after)
		}
		if p.IsActive() {
			t.Error("the owner on the lost host believes in a session that was taken over")
		}
	})
}

// While it renews, a game server that gossip holds for dead loses nothing and does not come into doubt.
func TestACutOfGossipAloneCostsNothing(t *testing.T) {
	gossiping(t, func(t *testing.T, c *clienttest.Cluster, p *client.Profile[player], heir *client.Store[player], doubts *atomic.Int64) {
		before := ownerOf(t, heir)
		c.CutGossip("a")
		until(t, c, "a", "dead")
		for range 300 {
			time.Sleep(time.Second)
			if !p.IsActive() {
				t.Fatalf("the session is %v, %v, while gossip alone is cut", p.State(), p.Err())
			}
		}
		c.HealGossip("a")
		until(t, c, "a", "alive")
		if got := doubts.Load(); got != 0 || !p.IsActive() {
			t.Errorf("%d doubts, session %v; want none, held", got, p.State())
		}
		if after := ownerOf(t, heir); after != before {
			t.Errorf("it was ended: its incarnation was %d and is %d", before, after)
		}
	})
}

// ownerOf is the incarnation that owns the profile: one that is ended and reclaims its sessions has another.
func ownerOf(t *testing.T, store *client.Store[player]) uint64 {
	t.Helper()
	got, err := store.Get(t.Context(), "ann")
	if err != nil || got.Owner == nil {
		t.Fatalf("its owner: %+v, %v", got, err)
	}
	return got.Owner.Incarnation
}

// Gossip that holds it for dead does not shorten the silence that a game server may keep.
func TestGossipAndASilenceBelowEvidenceCostNothing(t *testing.T) {
	gossiping(t, func(t *testing.T, c *clienttest.Cluster, p *client.Profile[player], heir *client.Store[player], _ *atomic.Int64) {
		before := ownerOf(t, heir)
		c.CutGossip("a")
		until(t, c, "a", "dead")
		for range 5 {
			time.Sleep(5 * time.Second)
			c.CutCalls("a")
			// The last renewal was up to a second before, and a dial that was lost is given up after another.
			time.Sleep(2 * time.Second)
			c.Reconnect("a")
			c.CutGossip("a")
			time.Sleep(2 * time.Second)
			if got := p.State(); got != client.StateHeld {
				t.Fatalf("2 s after a cut of 2 s: %v, %v, want held", got, p.Err())
			}
		}
		if after := ownerOf(t, heir); after != before {
			t.Errorf("it was ended: its incarnation was %d and is %d", before, after)
		}
	})
}

// A game server that is heard by gossip alone is stuck, or cut off from the nodes: its silence ends its incarnation after a
// lease.
func TestACutOfCallsAloneWaitsForTheLease(t *testing.T) {
	gossiping(t, func(t *testing.T, c *clienttest.Cluster, _ *client.Profile[player], heir *client.Store[player], _ *atomic.Int64) {
		c.CutCalls("a")
		at := time.Now()
		if _, err := heir.StartSession(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		if after := time.Since(at); after < 9*time.Second || after > 11*time.Second {
			t.Errorf("taken over after %v, want 9 to 11 s", after)
		}
	})
}

// A node with gossip that reaches no other member knows nothing about the game servers.
func TestANodeThatGossipReachesNotAccusesNobody(t *testing.T) {
	gossiping(t, func(t *testing.T, c *clienttest.Cluster, _ *client.Profile[player], heir *client.Store[player], _ *atomic.Int64) {
		c.CutGossip("a")
		c.CutGossip("heir")
		until(t, c, "a", "dead")
		until(t, c, "heir", "dead")
		c.CutCalls("a")
		at := time.Now()
		if _, err := heir.StartSession(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		if after := time.Since(at); after < 9*time.Second {
			t.Errorf("taken over after %v on the word of a node that hears no member, want a lease", after)
		}
	})
}

// joining is a client.Gossip of one function.
type joining func(cluster []byte, incarnation uint64, seeds func() []string, log *slog.Logger) (func(context.Context) error, error)

func (j joining) Join(cluster []byte, incarnation uint64, seeds func() []string, log *slog.Logger) (func(context.Context) error, error) {
	return j(cluster, incarnation, seeds, log)
}

// memberlist refuses a name at a second address, and for a while a name that died; each incarnation has its own.
func TestANewIncarnationGossipsUnderANewName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.StartGossiping(t)
		c.Open(t, gossips(c, "other"))
		config := c.Config("a")
		homes := []client.Gossip{c.Gossip("a"), c.Gossip("a, moved")}
		config.Gossip = joining(func(cluster []byte, inc uint64, seeds func() []string, log *slog.Logger) (func(context.Context) error, error) {
			home := homes[0]
			homes = homes[1:]
			return home.Join(cluster, inc, seeds, log)
		})
		p, err := clienttest.Store(t, c.Open(t, config), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		until(t, c, "other", "alive")
		until(t, c, "a", "alive")
		c.Disconnect("a")
		until(t, c, "a", "dead")
		time.Sleep(20 * time.Second)
		c.Reconnect("a")
		until(t, c, "a", "alive")
		time.Sleep(2 * time.Second) // in which it renews
		if !p.IsActive() {
			t.Errorf("the session is %v, want held: no game server came for it", p.State())
		}
	})
}

func TestCloseLeavesGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.StartGossiping(t)
		opened := c.Open(t, gossips(c, "a"))
		until(t, c, "a", "alive")
		at := time.Now()
		if err := opened.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(at); took > 2*time.Second {
			t.Errorf("Close took %v, want at most 2 s", took)
		}
		until(t, c, "a", "left")
	})
}

func TestGossipThatFailsIsTriedAgainAndHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.StartGossiping(t)
		config := c.Config("a")
		works := c.Gossip("a")
		tries := 0
		config.Gossip = joining(func(cluster []byte, inc uint64, seeds func() []string, log *slog.Logger) (func(context.Context) error, error) {
			if tries++; tries < 4 {
				return nil, errors.New("the port is taken")
			}
			return works.Join(cluster, inc, seeds, log)
		})
		p, err := clienttest.Store(t, c.Open(t, config), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		until(t, c, "a", "alive")
		if !p.IsActive() || tries != 4 {
			t.Errorf("session %v after %d tries to gossip, want held after 4", p.State(), tries)
		}
	})
}
