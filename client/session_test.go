package client_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// until waits for a condition in virtual time.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 3000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited 30 s for: %s", what)
}

func TestHandOff(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	a := clienttest.Store(t, cluster.Client(t, "a"), "players", player{})
	b := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
	p, err := a.StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(chan client.LastSaveReason, 1)
	p.OnLastSave(func(d *player, reason client.LastSaveReason) {
		d.Items = append(d.Items, "farewell")
		reasons <- reason
	})
	ended := make(chan error, 1)
	p.OnSessionEnd(func(end client.End) { ended <- end.Err })
	if err := p.Update(func(d *player) { d.Coins = 9 }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	q, err := b.StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("hand-off of a living owner: took %v, want well under a second", took)
	}
	q.Read(func(d *player) {
		if d.Coins != 9 || !slices.Equal(d.Items, []string{"farewell"}) {
			t.Errorf("the next owner loaded %+v, want the last save of the one before", *d)
		}
	})
	if got := <-reasons; got != client.LastSaveExternal {
		t.Errorf("reason of the last save: got %v, want external", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("OnSessionEnd: got %v, want nil, since all was stored", err)
	}
	if p.IsActive() {
		t.Error("the old session is active")
	}
	if err := p.Update(func(*player) {}); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("Update of the old session: got %v, want ErrSessionOver", err)
	}
	if got := q.Loads(); got != 2 {
		t.Errorf("loads: got %d, want 2", got)
	}
}

func TestRefuseAndSteal(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	config := cluster.Config("a")
	config.Where = "10.0.0.7"
	a := clienttest.Store(t, cluster.Open(t, config), "players", player{})
	b := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
	p, err := a.StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.StartSession(ctx, "ann", client.IfOwnedRefuse)
	var e *client.Error
	if !errors.Is(err, client.ErrOwned) || !errors.As(err, &e) || e.Owner == nil || e.Owner.Name != "a" || e.Owner.Where != "10.0.0.7" {
		t.Errorf("refuse: got %v, want ErrOwned by a at 10.0.0.7", err)
	}
	if _, err := a.StartSession(ctx, "ann"); !errors.Is(err, client.ErrAlreadyOpen) {
		t.Errorf("a second session of the same client: got %v, want ErrAlreadyOpen", err)
	}
	if _, err := b.Set(ctx, "ann", player{}, client.AtRevision(0)); !errors.Is(err, client.ErrOwned) {
		t.Errorf("set: got %v, want ErrOwned", err)
	}
	if _, err := b.StartSession(ctx, "ann", client.IfOwnedSteal); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Err(); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("the robbed session: got %v, want ErrSessionOver", err)
	}
	if err := p.Save(ctx); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("its save: got %v, want ErrSessionOver", err)
	}
}

// A session with data that cannot be encoded in time ends by itself, before it would be revoked: the stored data is the
// last.
func TestHandOffOfAStuckOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		a := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
		b := clienttest.Store(t, town.open(t, town.config("b")), "players", player{})
		p, err := a.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		stuck, free, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = p.Update(func(d *player) { d.Coins = 1; close(stuck); <-free })
		}()
		<-stuck
		q, err := b.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if p.State() != client.StateOver || !errors.Is(p.Err(), client.ErrSessionOver) {
			t.Errorf("the stuck owner: got %v, %v, want over", p.State(), p.Err())
		}
		close(free)
		<-done
		if err := p.Save(t.Context()); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("its save: got %v, want ErrSessionOver", err)
		}
		if got := coins(q); got != 0 {
			t.Errorf("the next owner: got %d coins, want the stored ones", got)
		}
	})
}

// A session learns by its own refused save that it is over, if no event told it.
func TestFencedSaveEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		town.Deafen(true)
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Live" {
					return errUnheard // renewals tell of it too
				}
				return nil
			}
		})
		town.Revoke("players", "ann")
		if err := p.Update(func(d *player) { d.Coins = 1 }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("save: got %v, want ErrSessionOver", err)
		}
		select {
		case <-p.Done():
		default:
			t.Error("the refused save left the session going on")
		}
		// A list of grants that was on its way when the session ended may cause a second release.
		until(t, "the old grant to be said over", func() bool { return town.Count("Release") >= 1 })
	})
}

// Absence from a list of grants ends nothing by itself.
func TestUnlistedSessionIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		town.Deafen(true)
		town.Revoke("players", "ann")
		town.Lapse("players", "ann")
		until(t, "the session to be over", func() bool { return p.State() == client.StateOver })
	})
}

// A grant that no session here wants is given back.
func TestOrphanGrantIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		town.open(t, town.config("a"))
		town.Grant("a", "players", "ann")
		// The client may have released it already, but the count of grants stays.
		if got := town.ann().Loads; got != 1 {
			t.Fatalf("the profile was granted %d times, want once", got)
		}
		until(t, "the release", func() bool { return town.ann().Owner == 0 })
	})
}

// The profiles of a dead game server go to their waiters in one step of the walk over them, under one token for several
// profiles.
func TestTwoProfilesUnderOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		dead := clienttest.Store(t, town.open(t, town.config("dead")), "players", player{})
		store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
		var sessions [2]*client.Profile[player]
		var waiting sync.WaitGroup
		town.Deafen(true) // the owner is not asked to let go
		for i, key := range []string{"ann", "bob"} {
			if _, err := dead.StartSession(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			waiting.Go(func() {
				var err error
				if sessions[i], err = store.StartSession(t.Context(), key); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		town.Deafen(false)
		town.Expire(town.Alive("dead"))
		waiting.Wait()
		if t.Failed() {
			return
		}
		if a, b := town.ann().Token, town.Profile("players", "bob").Token; a != b {
			t.Fatalf("tokens: got %d and %d, want the same", a, b)
		}
		differed := town.Differed()
		if err := sessions[0].EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := sessions[1].State(); got != client.StateHeld {
			t.Errorf("the other session: got %v, want held", got)
		}
		if n := town.Differed() - differed; n > 0 {
			t.Errorf("renewals with another held set than the log's: got %d, want none", n)
		}
	})
}

func TestNameIsHeldByTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		cluster.Client(t, "a")
		_, err := client.Open(t.Context(), cluster.Config("a"))
		if !errors.Is(err, client.ErrOwned) || !strings.Contains(err.Error(), `the name "a"`) {
			t.Errorf("open: got %v, want ErrOwned, with the name", err)
		}
	})
}

// Data that can never be stored ends the session with the data stored before, so that the player can join again.
func TestDataThatCannotBeStoredEndsTheSession(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	store := clienttest.Store[[]byte](t, cluster.Client(t, "a"), "blobs", nil)
	p, err := store.StartSession(ctx, "big")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Update(func(d *[]byte) { *d = make([]byte, 4<<20) }); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(ctx); err != nil {
		t.Errorf("save the largest data: %v", err)
	}
	if err := p.Update(func(d *[]byte) { *d = make([]byte, 4<<20+1) }); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(ctx); !errors.Is(err, client.ErrInvalid) || !p.IsActive() {
		t.Errorf("save of data over the limit: got %v and %v, want ErrInvalid and the session to go on", err, p.State())
	}
	if err := p.EndSession(ctx); !errors.Is(err, client.ErrSessionOver) || !errors.Is(err, client.ErrInvalid) {
		t.Errorf("end with data over the limit: got %v, want ErrSessionOver for ErrInvalid", err)
	}
	if err := p.Err(); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("the session: got %v, want it over for ErrInvalid", err)
	}
	again, err := store.StartSession(ctx, "big", client.IfOwnedRefuse)
	if err != nil {
		t.Fatalf("start it again: %v", err)
	}
	again.Read(func(d *[]byte) {
		if len(*d) != 4<<20 {
			t.Errorf("loaded %d bytes, want the data stored last", len(*d))
		}
	})
}
