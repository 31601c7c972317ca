package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
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
		by      string // how the name begins of the game server or tool that it ended for
	}{
		{name: "the game ends it", want: client.EndEnded, end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, _ *client.Store[player], p *client.Profile[player]) error {
			return p.EndSession(t.Context())
		}},
		{name: "another waits", want: client.EndHandedOff, by: "b", end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], _ *client.Profile[player]) error {
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
		{name: "overwritten", want: client.EndOverwritten, unsaved: true, by: "b", end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], _ *client.Profile[player]) error {
			_, err := other.Set(t.Context(), "ann", player{}, client.AnyRevision(), client.Force())
			return err
		}},
		{name: "removed", want: client.EndRemoved, unsaved: true, by: "b", end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], p *client.Profile[player]) error {
			if err := p.Save(t.Context()); err != nil {
				return err
			}
			if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
				return err
			}
			return other.Remove(t.Context(), "ann", client.AtRevision(1), client.Force())
		}},
		{name: "released by an operator", want: client.EndReleased, by: "operator-", end: func(t *testing.T, cluster *clienttest.Cluster, _ *client.Client, _ *client.Store[player], _ *client.Profile[player]) error {
			return cluster.Release(t.Context(), "players", "ann", false)
		}},
		{name: "released by force", want: client.EndReleased, unsaved: true, by: "operator-", end: func(t *testing.T, cluster *clienttest.Cluster, _ *client.Client, _ *client.Store[player], _ *client.Profile[player]) error {
			return cluster.Release(t.Context(), "players", "ann", true)
		}},
		{name: "handed off with all data stored before", want: client.EndHandedOff, by: "b", end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], p *client.Profile[player]) error {
			if err := p.Save(t.Context()); err != nil {
				return err
			}
			_, err := other.StartSession(t.Context(), "ann")
			return err
		}},
		{name: "the game's code is stuck while another waits", want: client.EndLate, unsaved: true, by: "b", end: func(t *testing.T, _ *clienttest.Cluster, _ *client.Client, other *client.Store[player], p *client.Profile[player]) (err error) {
			p.Read(func(*player) { _, err = other.StartSession(t.Context(), "ann") })
			return err
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
				if by := nameOf(first.By); !strings.HasPrefix(by, test.by) || (by == "") != (test.by == "") {
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

func nameOf(by *client.Owner) string {
	if by == nil {
		return ""
	}
	return by.Name
}

// After a hand-off End.By is the game server that has the profile, although another one waited when the owner was asked.
func TestAHandOffNamesTheGameServerThatHasTheProfile(t *testing.T) {
	for _, test := range []struct {
		name    string
		changed bool
	}{{"with unsaved changes", true}, {"with all data stored", false}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, _, sessions := newGameOn(t, "ann")
				p := sessions[0]
				if !test.changed {
					if err := p.Save(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				first := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
				second := clienttest.Store(t, cluster.Client(t, "c"), "players", player{})
				asked, letGo := make(chan struct{}), make(chan struct{})
				p.OnLastSave(func(*player, client.LastSaveReason) {
					close(asked)
					<-letGo
				})
				ends := make(chan client.End, 1)
				p.OnSessionEnd(func(end client.End) { ends <- end })
				ctx, giveUp := context.WithCancel(t.Context())
				go func() { _, _ = first.StartSession(ctx, "ann") }()
				<-asked
				started := make(chan error, 1)
				go func() {
					_, err := second.StartSession(t.Context(), "ann")
					started <- err
				}()
				time.Sleep(100 * time.Millisecond)
				giveUp()
				time.Sleep(100 * time.Millisecond)
				close(letGo)
				if end := <-ends; end.Reason != client.EndHandedOff || nameOf(end.By) != "c" || end.Err != nil {
					t.Errorf("ended with %+v by %q, want handed off to c", end, nameOf(end.By))
				}
				if err := <-started; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An owner that was cut off when it lost its profile learns from whom it lost it once it hears again: while its grant waits for
// it, and also after that has lapsed, as long as there was no other grant.
func TestAnOwnerThatHearsLateLearnsByWhomItsSessionEnded(t *testing.T) {
	for _, cut := range []struct {
		of   string
		long time.Duration
	}{{"before its grant lapses", 2 * time.Second}, {"after its grant has lapsed", 7 * time.Second}} {
		for _, test := range []struct {
			name, by string
			end      func(t *testing.T, cluster *clienttest.Cluster, other *client.Store[player]) error
		}{
			{"released by force", "operator-", func(t *testing.T, cluster *clienttest.Cluster, _ *client.Store[player]) error {
				return cluster.Release(t.Context(), "players", "ann", true)
			}},
			{"overwritten", "b", func(t *testing.T, _ *clienttest.Cluster, other *client.Store[player]) error {
				_, err := other.Set(t.Context(), "ann", player{}, client.AnyRevision(), client.Force())
				return err
			}},
			{"stolen", "b", func(t *testing.T, _ *clienttest.Cluster, other *client.Store[player]) error {
				go func() { _, _ = other.StartSession(t.Context(), "ann", client.IfOwnedSteal) }()
				return nil
			}},
		} {
			t.Run(test.name+" and heard "+cut.of, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cluster, _, sessions := newGameOn(t, "ann")
					other := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
					ends := make(chan client.End, 1)
					sessions[0].OnSessionEnd(func(end client.End) { ends <- end })
					cluster.Disconnect("a")
					if err := test.end(t, cluster, other); err != nil {
						t.Fatal(err)
					}
					time.Sleep(cut.long)
					cluster.Reconnect("a")
					if end := <-ends; !strings.HasPrefix(nameOf(end.By), test.by) || end.Err == nil {
						t.Errorf("ended with %+v by %q, want by %q", end, nameOf(end.By), test.by)
					}
				})
			})
		}
	}
}

// A save that is refused before the event of the loss comes says the same as the event.
func TestARefusedSaveSaysByWhomTheSessionEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		other := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
		ends := make(chan client.End, 1)
		p.OnSessionEnd(func(end client.End) { ends <- end })
		town.Deafen(true)
		if _, err := other.Set(t.Context(), "ann", player{}, client.AnyRevision(), client.Force()); err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
			t.Fatal(err)
		}
		err := p.Save(t.Context())
		var e *client.Error
		if !errors.As(err, &e) || e.Kind != client.ErrSessionOver {
			t.Fatalf("save: %v, want ErrSessionOver", err)
		}
		if end := <-ends; end.Reason != client.EndOverwritten || nameOf(end.By) != "b" || !end.Unsaved {
			t.Errorf("ended with %+v by %q, want overwritten by b", end, nameOf(end.By))
		}
	})
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
