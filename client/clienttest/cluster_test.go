package clienttest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

type player struct{ Coins int }

func TestRunsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		a := clienttest.Store(t, cluster.Client(t, "a"), "players", player{Coins: 5})
		ctx := t.Context()
		p, err := a.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if !p.IsActive() {
			t.Fatalf("state after an idle minute: got %v, want held", p.State())
		}
		if err := p.EndSession(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := a.Get(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if got.Data.Coins != 6 || got.Revision != 1 {
			t.Errorf("stored: got %d coins at revision %d, want 6 at 1", got.Data.Coins, got.Revision)
		}
	})
}

func TestExpire(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	p, err := clienttest.Store(t, cluster.Client(t, "a"), "players", player{}).StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	cluster.Disconnect("a")
	if err := cluster.Expire(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := clienttest.Store(t, cluster.Client(t, "b"), "players", player{}).StartSession(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	cluster.Reconnect("a")
	<-p.Done()
	if err := p.Err(); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("Err: got %v, want ErrSessionOver", err)
	}
	if err := p.Update(func(*player) {}); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("Update: got %v, want ErrSessionOver", err)
	}
}

func TestDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		p, err := clienttest.Store(t, cluster.Client(t, "a"), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a")
		time.Sleep(4 * time.Second)
		if got := p.State(); got != client.StateInDoubt {
			t.Errorf("4 s after the cut: got %v, want in doubt", got)
		}
		cluster.Reconnect("a")
		time.Sleep(2 * time.Second)
		if got := p.State(); got != client.StateHeld {
			t.Errorf("2 s after the cut is healed: got %v, want held", got)
		}
	})
}

func TestNew(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := clienttest.New(ctx); err == nil {
		t.Error("New with a context that is over: got no error")
	}
}
