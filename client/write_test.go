package client_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
)

func TestUnchangedDataSkipsTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		config := town.config("a")
		config.Autosave = time.Second
		store := client.NewStore(town.open(t, config), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := p.Update(func(d *player) { d.Coins++; d.Coins-- }); err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if got := town.count("Save"); got != 1 {
			t.Errorf("saves of data that did not change: got %d, want the first alone", got)
		}
		if err := p.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if saves, releases := town.count("Save"), town.count("Release"); saves != 1 || releases != 1 {
			t.Errorf("end of unchanged data: got %d saves and %d releases, want 1 and 1", saves, releases)
		}
	})
}

func TestAutosaveSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		const profiles, slots = 100, 10
		var began time.Time
		var bySlot [slots]int
		seen := map[string]bool{}
		town.before = func(_, method string, q proto.Message) error {
			if save, ok := q.(*profilev1.SaveRequest); ok && method == "Save" {
				town.set(func() {
					if !seen[save.Key] {
						seen[save.Key] = true
						bySlot[min(int(time.Since(began)*slots/(5*time.Second)), slots-1)]++
					}
				})
			}
			return nil
		}
		config := town.config("a")
		config.Autosave = 5 * time.Second
		store := client.NewStore(town.open(t, config), "players", player{})
		for i := range profiles {
			if _, err := store.StartSession(t.Context(), fmt.Sprintf("p%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		town.set(func() { began = time.Now() })
		time.Sleep(5100 * time.Millisecond)
		town.mu.Lock()
		defer town.mu.Unlock()
		for i, n := range bySlot {
			if n < profiles/slots/2 || n > profiles/slots*2 {
				t.Errorf("saves in slot %d of %d: got %d, want about %d: %v", i, slots, n, profiles/slots, bySlot)
			}
		}
	})
}

// One profile has one unsettled save: what comes later waits, and the last state lands last.
func TestOneUnsettledSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := client.NewStore(town.open(t, town.config("a")), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		var flying, most atomic.Int32
		town.set(func() {
			town.before = func(_, method string, _ proto.Message) error {
				if method == "Save" {
					n := flying.Add(1)
					most.Store(max(most.Load(), n))
					time.Sleep(100 * time.Millisecond)
					flying.Add(-1)
				}
				return nil
			}
		})
		done := make(chan error)
		for i := range 10 {
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
					done <- err
					return
				}
				done <- p.Save(t.Context())
			}()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := most.Load(); got != 1 {
			t.Errorf("saves of one profile at once: got %d, want 1", got)
		}
		if got := town.count("Save"); got > 3 {
			t.Errorf("ten calls made %d saves, want them to share two or three", got)
		}
		got, err := store.Get(t.Context(), "ann")
		if err != nil || got.Data.Coins != 10 {
			t.Errorf("stored: got %+v, %v, want 10 coins", got, err)
		}
	})
}

// A node makes room for large data before it comes, so it must be told.
func TestLargeDataIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := client.NewStore(town.open(t, town.config("a")), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *player) {
			for i := range 20_000 {
				d.Items = append(d.Items, fmt.Sprint("item ", i*i))
			}
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := p.Save(ctx); err != nil {
			t.Fatal(err)
		}
		if saved := town.profiles[client.Ref{Store: "players", Key: "ann"}]; len(saved.data) <= profilev1.UnannouncedBytes {
			t.Errorf("only %d bytes were saved: the test shows nothing", len(saved.data))
		}
	})
}
