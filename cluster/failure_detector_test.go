package cluster_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

func alive(t *testing.T, n *cluster.Node, inc lock.Incarnation) bool {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	s, ok, err := view.Server(inc)
	if err != nil {
		t.Fatal(err)
	}
	return ok && s.Alive
}

func owner(t *testing.T, n *cluster.Node, key string) lock.Incarnation {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	g, err := view.Grant("test", key)
	if err != nil {
		t.Fatal(err)
	}
	return g.Owner
}

func renew(t *testing.T, n *cluster.Node, servers ...*server) {
	t.Helper()
	for _, s := range servers {
		if _, err := n.Renew(t.Context(), s.inc); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSilentAreExpiredAndTheirWaitersServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		n := c.Nodes[c.Leader()]
		mute, loud := register(t, n, "mute"), register(t, n, "loud")
		propose(t, n, mute.do(&fsm.StartSession{Store: "test", Key: "p"}))
		if r := propose(t, n, loud.do(&fsm.StartSession{Store: "test", Key: "p"})); r.Code != fsm.Queued {
			t.Fatalf("a session on an owned profile: code %d, want Queued", r.Code)
		}
		begin := time.Now()
		for time.Since(begin) < 9900*time.Millisecond {
			if time.Since(begin) < 2*time.Second {
				renew(t, n, mute)
				begin = time.Now().Add(-time.Since(begin))
			}
			renew(t, n, loud)
			if time.Since(begin) < 9*time.Second && owner(t, n, "p") != mute.inc {
				t.Fatalf("robbed %v after the start", time.Since(begin))
			}
			time.Sleep(500 * time.Millisecond)
		}
		c.Until("the waiter to own it", func() bool {
			renew(t, n, loud)
			return owner(t, n, "p") == loud.inc
		})
		if passed := time.Since(begin); passed > 12500*time.Millisecond {
			t.Errorf("served after %v, want within a lease of the last renewal", passed)
		}
		if alive(t, n, mute.inc) || !alive(t, n, loud.inc) {
			t.Errorf("mute lives: %v, loud lives: %v", alive(t, n, mute.inc), alive(t, n, loud.inc))
		}
	})
}

func TestANewLeaderJudgesNobodyByWhatItDidNotHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		first := c.Leader()
		s := register(t, c.Nodes[first], "gs")
		time.Sleep(9 * time.Second)
		c.Kill(first)
		second := c.Leader()
		begin := time.Now()
		for time.Since(begin) < 9*time.Second {
			if !alive(t, c.Nodes[second], s.inc) {
				t.Fatalf("expired %v after the new leader began", time.Since(begin))
			}
			time.Sleep(100 * time.Millisecond)
		}
		c.Until("the silent one to expire", func() bool { return !alive(t, c.Nodes[second], s.inc) })
		if passed := time.Since(begin); passed > 12*time.Second {
			t.Errorf("expired after %v, want a lease and a tick", passed)
		}
	})
}

func TestAnOwnerThatDoesNotLetGoIsRevokedThenLapsed(t *testing.T) {
	for _, ask := range []struct {
		name string
		act  any // of whoever asks
		next bool
	}{
		{"for a waiter", &fsm.StartSession{Store: "test", Key: "p"}, true},
		{"for an operator", &fsm.ReleaseByOperator{Store: "test", Key: "p"}, false},
	} {
		t.Run(ask.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, 1, nil)
				c.Ready()
				n := c.Nodes[0]
				holder, asker := register(t, n, "holder"), register(t, n, "asker")
				grant := propose(t, n, holder.do(&fsm.StartSession{Store: "test", Key: "p"}))
				if free, ok := ask.act.(*fsm.ReleaseByOperator); ok {
					free.Token = uint64(grant.Token)
				}
				propose(t, n, asker.do(ask.act))
				asked := time.Now()
				var revoked, lapsed time.Duration
				for time.Since(asked) < 30*time.Second && lapsed == 0 {
					renew(t, n, holder, asker)
					view, err := n.View()
					if err != nil {
						t.Fatal(err)
					}
					g, err := view.Grant("test", "p")
					view.Close()
					if err != nil {
						t.Fatal(err)
					}
					if g.Revoked && revoked == 0 {
						revoked = time.Since(asked)
					}
					if g.Owner != holder.inc {
						lapsed = time.Since(asked)
					}
					time.Sleep(50 * time.Millisecond)
				}
				timing := lock.DefaultTiming()
				if revoked < timing.HandOff || revoked > timing.HandOff+time.Second {
					t.Errorf("revoked after %v, want after %v", revoked, timing.HandOff)
				}
				if mute := lapsed - revoked; mute < timing.Evidence-lock.DefaultDetector().TickPeriod || mute > timing.Evidence+time.Second {
					t.Errorf("lapsed %v after the revocation, want %v", mute, timing.Evidence)
				}
				if got := owner(t, n, "p"); ask.next != (got == asker.inc) {
					t.Errorf("owner is %d, the asker is %d", got, asker.inc)
				}
			})
		})
	}
}

// The failure of a leader does not begin a hand-off anew, and leaves the owner half of its time: it may hear of it only then.
func TestAHandOffGoesOnUnderTheNextLeader(t *testing.T) {
	handOff := lock.DefaultTiming().HandOff
	for _, test := range []struct {
		name string
		lead time.Duration // of the first leader, after the request
	}{{"early", 2 * time.Second}, {"late", 9 * time.Second}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, 3, nil)
				c.Ready()
				first := c.Leader()
				n := c.Nodes[first]
				holder, asker := register(t, n, "holder"), register(t, n, "asker")
				propose(t, n, holder.do(&fsm.StartSession{Store: "test", Key: "p"}))
				propose(t, n, asker.do(&fsm.StartSession{Store: "test", Key: "p"}))
				asked := time.Now()
				for time.Since(asked) < test.lead {
					renew(t, n, holder, asker)
					time.Sleep(100 * time.Millisecond)
				}
				c.Kill(first)
				n = c.Nodes[c.Leader()]
				opened := time.Now()
				for revoked := false; !revoked && time.Since(asked) < time.Minute; {
					renew(t, n, holder, asker)
					time.Sleep(50 * time.Millisecond)
					view, err := n.View()
					if err != nil {
						t.Fatal(err)
					}
					g, err := view.Grant("test", "p")
					view.Close()
					if err != nil {
						t.Fatal(err)
					}
					revoked = g.Revoked
				}
				want := max(handOff, opened.Sub(asked)+handOff/2)
				if took := time.Since(asked); took < want-100*time.Millisecond || took > want+time.Second {
					t.Errorf("revoked %v after the request, want %v: the next leader led after %v", took, want, opened.Sub(asked))
				}
			})
		})
	}
}

// slowDisk lets no sync of the log come back while it is slow.
type slowDisk struct{ slow atomic.Bool }

func (d *slowDisk) over(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData; sync && strings.Contains(op.Path, "log/") {
			for d.slow.Load() {
				time.Sleep(10 * time.Millisecond)
			}
		}
		return nil
	}))
}

// A leader whose disk stands still renews nobody. The game servers give their streams up then, and cannot open others:
// that looks like death, and is the leader's own doing.
func TestALeaderThatRenewsNobodyJudgesNobody(t *testing.T) {
	for _, stalled := range []time.Duration{5 * time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var disk slowDisk
			c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) { config.FS = disk.over(vfs.NewMem()) })
			c.Ready()
			n := c.Nodes[c.Leader()]
			owner, other := register(t, n, "owner"), register(t, n, "other")
			propose(t, n, owner.do(&fsm.StartSession{Store: "test", Key: "p"}))
			renew(t, n, owner)
			stream := &cluster.Stream{Incarnation: owner.inc, PeerHost: "gs"}
			n.AddStream(stream)

			disk.slow.Store(true)
			saved := make(chan error, 1)
			go func() {
				_, err := n.Propose(t.Context(), other.do(&fsm.StartSession{Store: "test", Key: "q"}))
				saved <- err
			}()
			began, unrenewed := time.Now(), 0
			for time.Since(began) < stalled {
				if _, err := n.Renew(t.Context(), owner.inc); errors.Is(err, cluster.ErrUnconfirmed) {
					if unrenewed++; unrenewed == 3 {
						n.NoteStreamEnd(stream, true)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
			}
			disk.slow.Store(false)
			if err := <-saved; err != nil || unrenewed < 5 {
				t.Fatalf("the save in the stall: %v, %d renewals refused, want none and at least 5: the disk was not slow", err, unrenewed)
			}
			time.Sleep(2 * time.Second) // until it has found its way back
			if !alive(t, n, owner.inc) {
				t.Fatalf("a game server that could not be renewed for %v is gone", stalled)
			}
			renew(t, n, owner)

			// It is judged again, from here on.
			time.Sleep(lock.DefaultTiming().Lease + 2*lock.DefaultDetector().TickPeriod)
			if alive(t, n, owner.inc) {
				t.Error("a silent game server lives on after the disk is well")
			}
		})
	}
}
