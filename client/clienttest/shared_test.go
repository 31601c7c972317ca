package clienttest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// Tests that share a cluster see nothing of each other, though they use the same names.
func TestShared(t *testing.T) {
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			c := clienttest.Shared(t)
			store := clienttest.Store(t, c.Client(t, "a"), "players", player{Coins: 5})
			if got, err := store.Get(t.Context(), "ann"); err != nil || got.Exists {
				t.Fatalf("ann: got %+v, %v, want that there is none yet", got, err)
			}
			p, err := store.StartSession(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			next := clienttest.Store(t, c.Client(t, "b"), "players", player{})
			if _, err := next.StartSession(t.Context(), "ann", client.IfOwnedRefuse); !errors.Is(err, client.ErrOwned) {
				t.Errorf("a second game server of the test: got %v, want ErrOwned", err)
			}
			c.Kill("a")
			if _, err := next.StartSession(t.Context(), "ann"); err != nil {
				t.Errorf("after the first was killed: %v", err)
			}
		})
	}
}

func TestProfileWithoutACluster(t *testing.T) {
	p := clienttest.Profile(t, player{Coins: 5})
	ends := make(chan client.End, 1)
	p.OnSessionEnd(func(end client.End) { ends <- end })
	if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(t.Context()); err != nil || p.Revision() != 1 || !p.IsActive() {
		t.Errorf("save: got %v, revision %d, active %v", err, p.Revision(), p.IsActive())
	}
	if err := p.EndSession(t.Context()); err != nil {
		t.Fatal(err)
	}
	if end := <-ends; end.Reason != client.EndEnded || end.Unsaved || end.Err != nil {
		t.Errorf("end: got %+v", end)
	}
	p.Read(func(d *player) {
		if d.Coins != 6 {
			t.Errorf("got %d coins, want 6", d.Coins)
		}
	})
	kept := clienttest.Profile(t, map[string]int{"gold": 3})
	kept.Read(func(d *map[string]int) {
		if (*d)["gold"] != 3 {
			t.Errorf("got %v, want 3 gold", *d)
		}
	})
	if !strings.Contains(kept.Key(), "WithoutACluster") {
		t.Errorf("key: got %q, want the test's name", kept.Key())
	}
}
