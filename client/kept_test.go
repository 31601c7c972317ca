package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// outOfReach is a session of "a" with unsaved changes that is over since the cluster was out of reach for 20 s.
func outOfReach(t *testing.T, config client.Config, open func(testing.TB, client.Config) *client.Client, cut func()) (*client.Store[player], *client.Profile[player], chan client.Saved) {
	t.Helper()
	config.DoubtLimit, config.Autosave = 20*time.Second, -1
	store := clienttest.Store(t, open(t, config), "players", player{})
	p, err := store.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	saved := make(chan client.Saved, 10)
	p.OnAfterSave(func(s client.Saved) { saved <- s })
	if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
		t.Fatal(err)
	}
	cut()
	<-p.Done()
	if err := p.Update(func(d *player) { d.Coins = 8 }); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("update of the kept copy: got %v, want ErrSessionOver", err)
	}
	if err := p.Save(t.Context()); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("save of the kept copy: got %v, want ErrUnknown", err)
	}
	return store, p, saved
}

// The last data of a session that ended at the limit for doubt is stored when the cluster is back, under its token.
func TestWhatWasUnsavedAtTheLimitForDoubtIsSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store, p, saved := outOfReach(t, town.config("a"), town.open, func() { town.Lead("") })
		time.Sleep(5 * time.Minute)
		town.Lead("n1:7400")
		again, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if got := coins(again); got != 7 {
			t.Errorf("the next session: got %d coins, want those that were kept", got)
		}
		if s := <-saved; s.Err != nil || !s.Last || s.Revision != 1 {
			t.Errorf("OnAfterSave: got %+v, want the last save", s)
		}
		if p.IsActive() || town.Count("Release") != 0 {
			t.Errorf("the old session: got %v and %d releases, want it over, and released by its save", p.State(), town.Count("Release"))
		}
	})
}

// A save that lost its answer before is settled first, and nothing is stored twice.
func TestAKeptCopyWaitsForTheSaveBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		config := town.config("a")
		config.DoubtLimit = 20 * time.Second
		store := clienttest.Store(t, town.open(t, config), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		town.Set(func() {
			town.After = func(_, method string, _ proto.Message) error {
				if method == "Save" {
					town.Lead("")
					return errLost
				}
				return nil
			}
		})
		if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
			t.Fatal(err)
		}
		go func() { _ = p.Save(t.Context()) }()
		time.Sleep(time.Second)
		if err := p.Update(func(d *player) { d.Coins = 9 }); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		town.Set(func() { town.After = nil })
		town.Lead("n1:7400")
		again, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if got := coins(again); got != 9 || again.Revision() != 2 {
			t.Errorf("the next session: got %d coins at revision %d, want 9 at 2", got, again.Revision())
		}
	})
}

// The same after the cluster took the game server for gone: the profile is reclaimed, saved and released.
func TestAKeptCopyIsReclaimedAndSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		store, _, saved := outOfReach(t, cluster.Config("a"), cluster.Open, func() { cluster.Disconnect("a") })
		time.Sleep(time.Minute)
		cluster.Reconnect("a")
		if s := <-saved; s.Err != nil {
			t.Errorf("OnAfterSave: got %+v, want the last save", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		again, err := store.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if got := coins(again); got != 7 {
			t.Errorf("the next session: got %d coins, want those that were kept", got)
		}
	})
}

// A profile that has had another owner since is not overwritten: the copy is dropped, and OnAfterSave says so.
func TestAKeptCopyOverwritesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		b := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
		store, _, saved := outOfReach(t, cluster.Config("a"), cluster.Open, func() { cluster.Disconnect("a") })
		q, err := b.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Update(func(d *player) { d.Coins = 1 }); err != nil {
			t.Fatal(err)
		}
		cluster.Reconnect("a")
		if s := <-saved; !errors.Is(s.Err, client.ErrSessionOver) {
			t.Errorf("OnAfterSave: got %+v, want that the copy is not stored", s)
		}
		if err := q.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Get(t.Context(), "ann"); err != nil || got.Data.Coins != 1 {
			t.Errorf("stored: got %+v, %v, want the other's data", got, err)
		}
	})
}

// The cluster comes back restored from a backup: the copy is of the time before, so it is dropped, and OnAfterSave says so.
func TestAKeptCopyDoesNotOutliveTheEpoch(t *testing.T) {
	for _, gone := range []bool{false, true} { // the owner learns of the end of its incarnation before the epoch
		synctest.Test(t, func(t *testing.T) {
			town := newTown(t, "n1:7400")
			store, p, saved := outOfReach(t, town.config("a"), town.open, func() { town.Lead("") })
			if gone {
				register := make(chan struct{})
				town.Set(func() {
					town.Before = func(_, method string, _ proto.Message) error {
						if method == "Register" {
							<-register
						}
						return nil
					}
				})
				town.Expire(town.Alive("a"))
				town.Lead("n1:7400")
				time.Sleep(5 * time.Second)
				town.Restore() // first: a registration in the older epoch would keep the name
				close(register)
			} else {
				town.Restore()
				town.Lead("n1:7400")
			}
			s := <-saved
			if s.Err == nil || !errors.Is(s.Err, client.ErrSessionOver) || s.Revision != 0 {
				t.Errorf("gone %v: OnAfterSave: got %+v, want that the copy is not stored", gone, s)
			}
			again, err := store.StartSession(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			if got := coins(again); got != 0 || again.Revision() != 0 {
				t.Errorf("gone %v: the next session: got %d coins at revision %d, want those of the backup", gone, got, again.Revision())
			}
			time.Sleep(time.Minute)
			if !again.IsActive() || p.State() != client.StateOver || len(saved) > 0 {
				t.Errorf("gone %v: a minute later: the next session is %v, the old one %v, %d more saves", gone, again.State(), p.State(), len(saved))
			}
		})
	}
}

// A copy is not kept longer than its limit, nor longer than the client.
func TestAKeptCopyIsGivenUp(t *testing.T) {
	for _, closing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			town := newTown(t, "n1:7400")
			var c *client.Client
			open := func(t testing.TB, config client.Config) *client.Client { c = town.open(t, config); return c }
			_, _, saved := outOfReach(t, town.config("a"), open, func() { town.Lead("") })
			if closing {
				var left *client.CloseError
				if err := c.Close(); !errors.As(err, &left) || len(left.Unsaved)+len(left.Unknown) != 1 {
					t.Errorf("close: got %v, want the kept profile in it", err)
				}
			} else {
				time.Sleep(11 * time.Minute)
			}
			if s := <-saved; s.Err == nil {
				t.Errorf("OnAfterSave: got %+v, want an error", s)
			}
			town.Lead("n1:7400")
			time.Sleep(time.Minute)
			if row := town.ann(); row.Revision != 0 || !closing && row.Owner != 0 {
				t.Errorf("afterwards: got revision %d and owner %d, want nothing stored, and no owner", row.Revision, row.Owner)
			}
		})
	}
}
