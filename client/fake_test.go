package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/internal/server/servertest"
)

// town is a scripted cluster: the nodes' own service over real tables, with faults that a real cluster cannot be asked for.
type town struct{ *servertest.Cluster }

func newTown(t testing.TB, addrs ...string) *town {
	t.Helper()
	return &town{servertest.NewCluster(t, addrs...)}
}

func (town *town) config(name string) client.Config {
	config := client.Config{Seeds: town.Addresses(), Name: name, Insecure: true, Autosave: -1}
	clienthooks.Of(&config).Dial = town.Dial
	return config
}

func (town *town) open(t testing.TB, config client.Config) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Open(ctx, config)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Shutdown(ctx)
	})
	return c
}

// playing is a town in which the game server "a" has a session of ann's profile.
func playing(t testing.TB, addrs ...string) (*town, *client.Store[player], *client.Profile[player]) {
	t.Helper()
	town := newTown(t, addrs...)
	store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
	p, err := store.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	return town, store, p
}

// ann is the row of ann's profile.
func (town *town) ann() servertest.Row { return town.Profile("players", "ann") }

// unlist makes the leader's answers to renewals say that no profile is held, or not any more.
func (town *town) unlist(is bool) {
	town.Set(func() {
		town.Renewed = nil
		if is {
			town.Renewed = func(answer *profilev1.Renewed) {
				if answer.ConfirmedTerm != 0 {
					answer.Differs, answer.Comparison, answer.Grants, answer.Last = true, answer.Index, nil, nil
				}
			}
		}
	})
}

func refuse(r *profilev1.Refusal) error { return servertest.Refuse(r) }
