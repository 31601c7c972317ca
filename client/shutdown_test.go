package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// newGame is a client with sessions on profiles 0, 1, ..., each with a change that is not saved.
func newGame(t *testing.T, profiles int) (*clienttest.Cluster, *client.Client, []*client.Profile[player]) {
	t.Helper()
	cluster := clienttest.Start(t)
	config := cluster.Config("a")
	config.Autosave = -1
	c := cluster.Open(t, config)
	store := clienttest.Store(t, c, "players", player{})
	var sessions []*client.Profile[player]
	for i := range profiles {
		p, err := store.StartSession(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *player) { d.Coins = 5 }); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, p)
	}
	return cluster, c, sessions
}

// The context that SIGTERM ended must not end the last saves.
func TestShutdownWithAnEndedContextSavesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, c, _ := newGame(t, 3)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Shutdown(over); err != nil {
			t.Fatal(err)
		}
		got, err := clienttest.Store(t, cluster.Client(t, "b"), "players", player{}).Get(t.Context(), "2")
		if err != nil || got.Data.Coins != 5 {
			t.Errorf("stored: got %+v, %v, want 5 coins", got, err)
		}
	})
}

// The game's code may hold locks of profiles without end: all others are saved, and Close returns in time.
func TestCloseDoesNotWaitForCodeThatNeverReturns(t *testing.T) {
	for name, shut := range map[string]func(context.Context, *client.Client) error{
		"close":                       func(_ context.Context, c *client.Client) error { return c.Close() },
		"shutdown without a deadline": func(ctx context.Context, c *client.Client) error { return c.Shutdown(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const stuck, healthy = 100, 20
				_, c, sessions := newGame(t, stuck+healthy)
				never := make(chan struct{})
				defer close(never)
				for _, p := range sessions[:stuck] {
					p.OnLastSave(func(*player, client.LastSaveReason) { <-never })
				}
				for _, p := range sessions {
					p.OnSessionEnd(func(client.End) { <-never })
				}
				began := time.Now()
				err := shut(t.Context(), c)
				var left *client.CloseError
				if !errors.As(err, &left) || len(left.Unsaved) != stuck || len(left.Unknown) != 0 {
					t.Errorf("got %v, want that the %d profiles that the game holds are not saved", err, stuck)
				}
				if took := time.Since(began); took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A handler that is slow is waited for, whether it ran before or the last save began it: a game ends its process after Close.
func TestCloseWaitsForASlowHandler(t *testing.T) {
	const slow = 3 * time.Second
	for name, begin := range map[string]func(t *testing.T, p *client.Profile[player], handle func()){
		"OnAfterSave of a save before": func(t *testing.T, p *client.Profile[player], handle func()) {
			stop := p.OnAfterSave(func(client.Saved) { handle() })
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			stop()
		},
		"OnAfterSave of the last save": func(_ *testing.T, p *client.Profile[player], handle func()) {
			p.OnAfterSave(func(client.Saved) { handle() })
		},
		"OnSessionEnd": func(_ *testing.T, p *client.Profile[player], handle func()) {
			p.OnSessionEnd(func(client.End) { handle() })
		},
		"OnLastSave": func(_ *testing.T, p *client.Profile[player], handle func()) {
			p.OnLastSave(func(*player, client.LastSaveReason) { handle() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c, sessions := newGame(t, 1)
				var returned atomic.Bool
				begin(t, sessions[0], func() {
					time.Sleep(slow)
					returned.Store(true)
				})
				began := time.Now()
				if err := c.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if took := time.Since(began); !returned.Load() || took < slow || took > slow+time.Second {
					t.Errorf("Close returned after %v, the handler has returned: %v; want it to wait for the handler, %v", took, returned.Load(), slow)
				}
			})
		})
	}
}

// A handler that runs outside of every lock may close the client, which does not wait for it.
func TestCloseFromAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, sessions := newGame(t, 2)
		closed := make(chan error, 1)
		sessions[0].OnSessionEnd(func(client.End) { closed <- c.Close() })
		if err := sessions[0].EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-closed; err != nil || sessions[1].State() != client.StateOver {
			t.Errorf("close: got %v, the other session is %v; want nil, over", err, sessions[1].State())
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v: it waited for the handler that called it", took)
		}
	})
}

func TestDrainLetsNothingBeginAndSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, c, sessions := newGame(t, 2)
		store := clienttest.Store(t, c, "players", player{})
		ref := func(key string) client.Ref { return client.Ref{Store: "players", Key: key} }
		if got := c.Drain(); !slices.Equal(got, []client.Ref{ref("0"), ref("1")}) {
			t.Errorf("left: got %v, want both", got)
		}
		if _, err := store.StartSession(t.Context(), "new"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("start: got %v, want ErrClosed", err)
		}
		if err := sessions[0].Save(t.Context()); err != nil {
			t.Errorf("save while it drains: %v", err)
		}
		if err := sessions[0].EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := c.Drain(); !slices.Equal(got, []client.Ref{ref("1")}) {
			t.Errorf("left: got %v, want one", got)
		}
		if _, err := clienttest.Store(t, cluster.Client(t, "b"), "players", player{}).StartSession(t.Context(), "1"); err != nil {
			t.Errorf("hand-off while it drains: %v", err)
		}
		until(t, "nothing to be left", func() bool { return len(c.Drain()) == 0 })
	})
}

// A context that ended before the call sends nothing, so the outcome is known.
func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, wire := clienttest.Start(t), newWire()
		config := cluster.Config("a")
		config.Autosave = -1
		c := cluster.Open(t, config.WithDialOptions(wire.option()))
		store := clienttest.Store(t, c, "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		sent := func() (n int) {
			wire.mu.Lock()
			defer wire.mu.Unlock()
			for _, carried := range wire.carried {
				n += carried
			}
			return n
		}
		before := sent()
		for name, call := range map[string]func() error{
			"save":   func() error { return p.Save(over) },
			"end":    func() error { return p.EndSession(over) },
			"start":  func() error { _, err := store.StartSession(over, "bob"); return err },
			"get":    func() error { _, err := store.Get(over, "bob"); return err },
			"send":   func() error { _, err := store.Send(over, "bob", 1); return err },
			"set":    func() error { _, err := store.Set(over, "bob", player{}, client.AtRevision(0)); return err },
			"remove": func() error { return store.Remove(over, "bob", client.AnyRevision()) },
		} {
			if err := call(); !errors.Is(err, client.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want ErrUnavailable for the context", name, err)
			}
		}
		time.Sleep(time.Second)
		if after := sent(); after != before {
			t.Errorf("%d requests were sent", after-before)
		}
		if n := wire.count(profilev1.Profiles_Save_FullMethodName); n != 0 || !p.IsActive() {
			t.Errorf("%d saves were sent, the session is %v", n, p.State())
		}
	})
}
