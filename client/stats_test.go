package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client/clienttest"
)

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		c := cluster.Client(t, "a")
		store := clienttest.Store(t, c, "players", player{})
		kept, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.StartSession(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if err := kept.Update(func(d *player) { d.Coins = 3 }); err != nil {
			t.Fatal(err)
		}
		if err := kept.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := c.Stats()
		if before.Sessions != 2 || before.Saves == 0 || before.SavedBytes == 0 || before.Doubts != 0 || before.InDoubt != 0 || before.Lost != 0 {
			t.Errorf("after a save: %+v", before)
		}
		cluster.Disconnect("a")
		time.Sleep(5 * time.Second)
		_ = kept.Update(func(d *player) { d.Coins = 4 })
		saved := make(chan error, 1)
		go func() { saved <- kept.Save(t.Context()) }()
		time.Sleep(time.Second)
		cluster.Reconnect("a")
		if err := <-saved; err != nil {
			t.Fatal(err)
		}
		until(t, "the session to be held again", kept.IsActive)
		time.Sleep(100 * time.Millisecond)
		if err := cluster.Release(t.Context(), "players", "bob", true); err != nil {
			t.Fatal(err)
		}
		until(t, "the other session to be lost", func() bool { st := c.Stats(); return st.Lost == 1 && st.Sessions == 1 })
		if err := kept.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := c.Stats()
		if got.Doubts != 1 || got.InDoubt < 2*time.Second || got.InDoubt > 5*time.Second || got.Saves <= before.Saves || got.Retries == 0 || got.Sessions != 0 || got.Lost != 1 {
			t.Errorf("after a doubt of some seconds, a save and a loss: %+v", got)
		}
	})
}
