package client_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// A session's end says why, by which game server, and whether changes are lost.
func TestOnSessionEndSaysHowItEnded(t *testing.T) {
	for _, test := range []struct {
		name    string
		end     func(t *testing.T, cluster *clienttest.Cluster, c *client.Client, other *client.Store[player], p *client.Profile[player]) error
		want    client.EndReason
		unsaved bool
		by      string // name of the game server that has the profile next
	}{
		{name: "the game ends it", want: client.EndEnded, end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, _ *client.Store[player], p *client.Profile[player]) error {
			return p.EndSession(t.Context())
		}},
		{name: "another waits", want: client.EndHandedOff, end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], _ *client.Profile[player]) error {
			_, err := other.StartSession(t.Context(), "ann")
			return err
		}},
		{name: "the client closes", want: client.EndShutDown, end: func(_ *testing.T, _ *clienttest.Cluster, c *client.Client, _ *client.Store[player], _ *client.Profile[player]) error {
			return c.Close()
		}},
		{name: "stolen", want: client.EndStolen, unsaved: true, by: "b", end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], _ *client.Profile[player]) error {
			_, err := other.StartSession(t.Context(), "ann", client.IfOwnedSteal)
			return err
		}},
		{name: "overwritten", want: client.EndOverwritten, unsaved: true, end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], _ *client.Profile[player]) error {
			_, err := other.Set(t.Context(), "ann", player{}, client.AnyRevision(), client.Force())
			return err
		}},
		{name: "removed", want: client.EndRemoved, unsaved: true, end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], p *client.Profile[player]) error {
			if err := p.Save(t.Context()); err != nil {
				return err
			}
			if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
				return err
			}
			return other.Remove(t.Context(), "ann", client.AtRevision(1), client.Force())
		}},
		{name: "released by an operator", want: client.EndReleased, end: func(t *testing.T, cluster *clienttest.Cluster, _ *client.Client, _ *client.Store[player], _ *client.Profile[player]) error {
			return cluster.Release(t.Context(), "players", "ann", false)
		}},
		{name: "out of reach", want: client.EndOutOfReach, unsaved: true, end: func(_ *testing.T, cluster *clienttest.Cluster, _ *client.Client, _ *client.Store[player], _ *client.Profile[player]) error {
			cluster.Disconnect("a")
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, c, sessions := newGameOn(t, "ann")
				other := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
				ends := make(chan client.End, 2)
				sessions[0].OnSessionEnd(func(end client.End) { ends <- end })
				stop := sessions[0].OnSessionEnd(func(client.End) { t.Error("a handler that was stopped ran") })
				stop()
				stop()
				if err := test.end(t, cluster, c, other, sessions[0]); err != nil {
					t.Fatal(err)
				}
				first := <-ends
				if first.Reason != test.want || first.Unsaved != test.unsaved || (first.Err != nil) != test.unsaved || first.Ref.Key != "ann" {
					t.Errorf("ended with %+v, want %v, unsaved %v", first, test.want, test.unsaved)
				}
				by := ""
				if first.By != nil {
					by = first.By.Name
				}
				if by != test.by {
					t.Errorf("ended by %q, want %q", by, test.by)
				}
				cluster.Reconnect("a")
				_ = c.Close()
				sessions[0].OnSessionEnd(func(end client.End) { ends <- end })
				if again := <-ends; again.Reason != first.Reason {
					t.Errorf("attached after the end and after Close it was told %+v, want %+v", again, first)
				}
			})
		})
	}
}

// newGameOn is newGame for one profile of that key.
func newGameOn(t *testing.T, key string) (*clienttest.Cluster, *client.Client, []*client.Profile[player]) {
	t.Helper()
	cluster, c, _ := newGame(t, 0)
	p, err := clienttest.Store(t, c, "players", player{}).StartSession(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Update(func(d *player) { d.Coins = 5 }); err != nil {
		t.Fatal(err)
	}
	return cluster, c, []*client.Profile[player]{p}
}

// OnAfterSave is told of every save in order, one at a time, refused ones too.
func TestOnAfterSaveIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		config := cluster.Config("a")
		config.Autosave = -1
		p, err := clienttest.Store(t, cluster.Open(t, config), "games", struct{ Odds float64 }{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var told []string
		p.OnAfterSave(func(saved client.Saved) {
			time.Sleep(time.Second) // the next save is done by then
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(saved.Revision, " ", errors.Is(saved.Err, client.ErrInvalid), " ", saved.Last))
		})
		for _, odds := range []float64{1, math.NaN(), 2} {
			if err := p.Update(func(d *struct{ Odds float64 }) { d.Odds = odds }); err != nil {
				t.Fatal(err)
			}
			_ = p.Save(t.Context())
		}
		if err := p.Update(func(d *struct{ Odds float64 }) { d.Odds = 3 }); err != nil {
			t.Fatal(err)
		}
		if err := p.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"1 false false", "1 true false", "2 false false", "3 false true"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
