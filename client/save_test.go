package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

func TestUnchangedDataSkipsTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		config := town.config("a")
		config.Autosave = time.Second
		store := clienttest.Store(t, town.open(t, config), "players", player{})
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
		if got := town.Count("Save"); got != 1 {
			t.Errorf("saves of data that did not change: got %d, want the first alone", got)
		}
		if err := p.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if saves, releases := town.Count("Save"), town.Count("Release"); saves != 1 || releases != 1 {
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
		town.Before = func(_, method string, q proto.Message) error {
			if save, ok := q.(*profilev1.SaveRequest); ok && method == "Save" {
				town.Set(func() {
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
		store := clienttest.Store(t, town.open(t, config), "players", player{})
		for i := range profiles {
			if _, err := store.StartSession(t.Context(), fmt.Sprintf("p%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		town.Set(func() { began = time.Now() })
		time.Sleep(5100 * time.Millisecond)
		town.Set(func() {
			for i, n := range bySlot {
				if n < profiles/slots/2 || n > profiles/slots*2 {
					t.Errorf("saves in slot %d of %d: got %d, want about %d: %v", i, slots, n, profiles/slots, bySlot)
				}
			}
		})
	})
}

// One profile has one unsettled save: later ones wait, and the last state lands last.
func TestOneUnsettledSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p := playing(t, "n1:7400")
		var flying, most atomic.Int32
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
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
		if got := town.Count("Save"); got > 3 {
			t.Errorf("ten calls made %d saves, want them to share two or three", got)
		}
		got, err := store.Get(t.Context(), "ann")
		if err != nil || got.Data.Coins != 10 {
			t.Errorf("stored: got %+v, %v, want 10 coins", got, err)
		}
	})
}

// A caller that asks for a save when nothing can be changed any more is told the outcome of the last one, which carries
// every change: not that nothing was stored.
func TestASaveBesideTheLastOneSharesItsFate(t *testing.T) {
	const under = time.Second
	for _, test := range []struct {
		name string
		slow func(p *client.Profile[player], town *town)
	}{
		{"it is being encoded", func(p *client.Profile[player], _ *town) {
			p.OnLastSave(func(*player, client.LastSaveReason) { time.Sleep(under) })
		}},
		{"it is on its way", func(_ *client.Profile[player], town *town) {
			town.Set(func() {
				town.Before = func(_, method string, _ proto.Message) error {
					if method == "Save" {
						time.Sleep(under)
					}
					return nil
				}
			})
		}},
		{"it is done", func(*client.Profile[player], *town) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				town, store, p := playing(t, "n1:7400")
				test.slow(p, town)
				if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 2)
				go func() { ended <- p.EndSession(t.Context()) }()
				time.Sleep(under / 2)
				go func() { ended <- p.EndSession(t.Context()) }()
				if err := p.Save(t.Context()); err != nil {
					t.Errorf("save: %v, and it is stored", err)
				}
				for range 2 {
					if err := <-ended; err != nil {
						t.Errorf("end: %v, and it is stored", err)
					}
				}
				if got, err := store.Get(t.Context(), "ann"); err != nil || got.Data.Coins != 7 {
					t.Errorf("stored: got %+v, %v, want 7 coins", got, err)
				}
				if n := town.Count("Save"); n != 1 {
					t.Errorf("%d saves, want one", n)
				}
			})
		})
	}
}

// A session that is taken by force while a save of it is on its way: a caller that asks for that data is told its outcome.
func TestASaveBesideOneOnItsWaySharesItsFateWhenTheSessionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p := playing(t, "n1:7400")
		town.Set(func() {
			town.After = func(_, method string, _ proto.Message) error {
				if method == "Save" {
					time.Sleep(time.Second)
				}
				return nil
			}
		})
		if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
			t.Fatal(err)
		}
		saved := make(chan error, 4)
		save := func(f func(context.Context) error) {
			go func() { saved <- f(t.Context()) }()
			time.Sleep(100 * time.Millisecond)
		}
		save(p.Save)
		save(p.Save)
		town.TellLost("players", "ann")
		<-p.Done()
		save(p.Save)
		save(p.EndSession)
		for range 4 {
			if err := <-saved; err != nil {
				t.Errorf("got %v, and it is stored", err)
			}
		}
		if got, err := store.Get(t.Context(), "ann"); err != nil || got.Data.Coins != 7 {
			t.Errorf("stored: got %+v, %v, want 7 coins", got, err)
		}
		if err := p.Err(); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("the session: got %v, want ErrSessionOver", err)
		}
		for what, later := range map[string]func(context.Context) error{"save": p.Save, "end": p.EndSession} {
			if err := later(t.Context()); !errors.Is(err, client.ErrSessionOver) || !strings.Contains(err.Error(), "had been stored") {
				t.Errorf("a later %s: got %v, want that the session is over, and all stored", what, err)
			}
		}
	})
}

// A node makes room for large data before it comes, so it must be told.
func TestLargeDataIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
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
		if saved := town.ann().Data; len(saved) <= profilev1.UnannouncedBytes {
			t.Errorf("only %d bytes were saved: the test shows nothing", len(saved))
		}
	})
}
