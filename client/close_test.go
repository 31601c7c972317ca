package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

func TestCloseReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		c := town.open(t, town.config("a"))
		store := clienttest.Store(t, c, "players", player{})
		for _, key := range []string{"ann", "bob", "cid"} {
			p, err := store.StartSession(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			if key == "cid" {
				continue // unchanged
			}
			if err := p.Update(func(d *player) { d.Coins = 1 }); err != nil {
				t.Fatal(err)
			}
		}
		town.Set(func() {
			town.After = func(_, method string, q proto.Message) error {
				if save, ok := q.(*profilev1.SaveRequest); ok && save.Key == "bob" {
					return errLost
				}
				return nil
			}
			town.Before = func(_, _ string, q proto.Message) error {
				if save, ok := q.(*profilev1.SaveRequest); ok && save.Key == "ann" {
					return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_TOO_LARGE, Limit: 1})
				}
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := c.Shutdown(ctx)
		var left *client.CloseError
		if !errors.As(err, &left) {
			t.Fatalf("close: got %v, want a CloseError", err)
		}
		ann, bob := client.Ref{Store: "players", Key: "ann"}, client.Ref{Store: "players", Key: "bob"}
		if !slices.Equal(left.Unsaved, []client.Ref{ann}) || !slices.Equal(left.Unknown, []client.Ref{bob}) {
			t.Errorf("close: got unsaved %v and unknown %v, want [%v] and [%v]", left.Unsaved, left.Unknown, ann, bob)
		}
		if _, err := store.StartSession(t.Context(), "dot"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("start after close: got %v, want ErrClosed", err)
		}
		if err := c.Shutdown(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("second close: got %v, want ErrClosed", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	c := cluster.Client(t, "a")
	store := clienttest.Store(t, c, "players", player{})
	const profiles = 200
	for i := range profiles {
		p, err := store.StartSession(ctx, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		p.OnLastSave(func(d *player, reason client.LastSaveReason) {
			if reason == client.LastSaveShutdown {
				d.Coins = 5
			}
		})
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	other := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
	n := 0
	for info, err := range other.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		got, err := other.Get(ctx, info.Key)
		if err != nil || got.Owner != nil || got.Data.Coins != 5 {
			t.Fatalf("%s: got %+v, %v, want 5 coins and no owner", info.Key, got, err)
		}
		n++
	}
	if n != profiles {
		t.Errorf("stored: got %d profiles, want %d", n, profiles)
	}
	// The name is free at once.
	cluster.Client(t, "a")
}
