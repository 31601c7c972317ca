package clienttest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// A node whose disk is nearly full takes only the last saves of sessions. The autosaves of more sessions than a client
// has request numbers are refused meanwhile: sessions begin, end, are handed off and closed all the same, and the data of
// those that end is stored.
func TestADiskThatIsNearlyFullTakesLastSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions = 1100
		cluster := clienttest.Start(t)
		config := cluster.Config("a")
		config.Autosave = time.Second
		c := cluster.Open(t, config)
		store := clienttest.Store(t, c, "players", player{})
		held := make([]*client.Profile[player], sessions)
		var opening sync.WaitGroup
		for first := range 50 {
			opening.Go(func() {
				for i := first; i < sessions; i += 50 {
					p, err := store.StartSession(t.Context(), fmt.Sprint("p", i))
					if err != nil {
						t.Error(err)
						return
					}
					held[i] = p
				}
			})
		}
		if opening.Wait(); t.Failed() {
			return
		}
		time.Sleep(5 * time.Second)
		cluster.FillDisk(true)
		time.Sleep(3 * time.Second)
		stored := make(map[string]uint64)
		for i, p := range held {
			if err := p.Update(func(d *player) { d.Coins = i + 1 }); err != nil {
				t.Fatal(err)
			}
			stored[p.Key()] = p.Revision()
		}
		time.Sleep(10 * time.Second)
		for _, p := range held {
			if p.Revision() != stored[p.Key()] || !p.IsActive() {
				t.Fatalf("%s on a full disk: got revision %d, %v, want %d, held", p.Key(), p.Revision(), p.State(), stored[p.Key()])
			}
		}

		soon := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		saving := make(chan error, 1)
		go func() { saving <- held[0].Save(t.Context()) }()
		time.Sleep(time.Second)
		select {
		case err := <-saving:
			t.Fatalf("a save while the disk is full: got %v, want it to wait", err)
		default:
		}
		if err := held[0].EndSession(soon()); err != nil {
			t.Errorf("end a session: %v", err)
		}
		if err := <-saving; err != nil {
			t.Errorf("the save that the last one overtook: %v", err)
		}
		if _, err := store.StartSession(soon(), "new"); err != nil {
			t.Errorf("start a session: %v", err)
		}
		other := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
		q, err := other.StartSession(soon(), "p1")
		if err != nil {
			t.Fatalf("hand-off: %v", err)
		}
		q.Read(func(d *player) {
			if d.Coins != 2 {
				t.Errorf("handed off with %d coins, want 2", d.Coins)
			}
		})
		began := time.Now()
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("Close took %v", took)
		}
		for i := range sessions {
			got, err := other.Get(t.Context(), fmt.Sprint("p", i))
			if err != nil || got.Data.Coins != i+1 || got.Owner != nil && i != 1 {
				t.Fatalf("p%d afterwards: got %+v, %v, want %d coins and no owner", i, got, err, i+1)
			}
		}

		if err := q.Update(func(d *player) { d.Coins = 50 }); err != nil {
			t.Fatal(err)
		}
		cluster.FillDisk(false)
		if err := q.Save(soon()); err != nil {
			t.Errorf("a save once there is space again: %v", err)
		}
	})
}
