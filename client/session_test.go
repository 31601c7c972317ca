package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	a := client.NewStore(cluster.Client(t, "a"), "players", player{})
	b := client.NewStore(cluster.Client(t, "b"), "players", player{})
	p, err := a.StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(chan client.Reason, 1)
	p.OnLastSave(func(d *player, reason client.Reason) {
		d.Items = append(d.Items, "farewell")
		reasons <- reason
	})
	ended := make(chan error, 1)
	p.OnSessionEnd(func(err error) { ended <- err })
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
	if got := <-reasons; got != client.External {
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
	a := client.NewStore(cluster.Open(t, config), "players", player{})
	b := client.NewStore(cluster.Client(t, "b"), "players", player{})
	p, err := a.StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.StartSession(ctx, "ann", client.IfOwned(client.Refuse))
	var e *client.Error
	if !errors.Is(err, client.ErrOwned) || !errors.As(err, &e) || e.Owner == nil || e.Owner.Name != "a" || e.Owner.Where != "10.0.0.7" {
		t.Errorf("refuse: got %v, want ErrOwned by a at 10.0.0.7", err)
	}
	if _, err := a.StartSession(ctx, "ann"); !errors.Is(err, client.ErrOwned) {
		t.Errorf("a second session of the same client: got %v, want ErrOwned", err)
	}
	if _, err := b.Set(ctx, "ann", player{}, 0); !errors.Is(err, client.ErrOwned) {
		t.Errorf("set: got %v, want ErrOwned", err)
	}
	if _, err := b.StartSession(ctx, "ann", client.IfOwned(client.Steal)); err != nil {
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

// An owner whose data cannot be encoded in time ends by itself, before it would be revoked: what is stored is the last.
func TestHandOffOfAStuckOwner(t *testing.T) {
	town := newTown(t, "n1:7400")
	town.timing = &profilev1.Timing{HandOffMs: 300}
	a := client.NewStore(town.open(t, town.config("a")), "players", player{})
	b := client.NewStore(town.open(t, town.config("b")), "players", player{})
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
	if p.State() != client.Over || !errors.Is(p.Err(), client.ErrSessionOver) {
		t.Errorf("the stuck owner: got %v, %v, want over", p.State(), p.Err())
	}
	close(free)
	<-done
	if err := p.Save(t.Context()); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("its save: got %v, want ErrSessionOver", err)
	}
	if got := coins(q); got != 0 {
		t.Errorf("the next owner: got %d coins, want what was stored", got)
	}
}

// A session learns by its own refused save that it is over, if nobody told it.
func TestFencedSaveEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := client.NewStore(town.open(t, town.config("a")), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		town.set(func() { town.profiles[p.Ref()].token++ })
		if err := p.Update(func(d *player) { d.Coins = 1 }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("save: got %v, want ErrSessionOver", err)
		}
		<-p.Done()
		until(t, "the old grant to be said over", func() bool { return town.count("Release") == 1 })
	})
}

// Absence from a list of grants ends nothing by itself.
func TestUnlistedSessionIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := client.NewStore(town.open(t, town.config("a")), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		town.set(func() {
			p := town.profiles[p.Ref()]
			p.owner = 0
		})
		until(t, "the session to be over", func() bool { return p.State() == client.Over })
	})
}

// A grant that nobody here wants is given back.
func TestOrphanGrantIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		town.open(t, town.config("a"))
		ref := client.Ref{Store: "players", Key: "ann"}
		town.set(func() {
			for id := range town.lives {
				town.profiles[ref] = &fakeProfile{owner: id, token: 77}
			}
		})
		until(t, "the release", func() bool {
			town.mu.Lock()
			defer town.mu.Unlock()
			return town.profiles[ref].owner == 0
		})
	})
}

func TestDoubtAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		var doubts, resumes atomic.Int32
		config := cluster.Config("a")
		config.OnDoubt = func() { doubts.Add(1) }
		config.OnResume = func() { resumes.Add(1) }
		c := cluster.Open(t, config)
		p, err := client.NewStore(c, "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a")
		time.Sleep(1900 * time.Millisecond)
		if got := p.State(); got != client.Held {
			t.Errorf("1.9 s after the cut: got %v, want held", got)
		}
		time.Sleep(1200 * time.Millisecond)
		if got := p.State(); got != client.InDoubt {
			t.Errorf("3.1 s after the cut: got %v, want in doubt", got)
		}
		if err := p.Update(func(d *player) { d.Coins = 3 }); err != nil {
			t.Errorf("Update in doubt: %v", err)
		}
		time.Sleep(time.Second)
		cluster.Reconnect("a")
		until(t, "the session to be held again", p.IsActive)
		until(t, "OnDoubt and OnResume", func() bool { return doubts.Load() == 1 && resumes.Load() == 1 })
		if err := p.Save(t.Context()); err != nil {
			t.Errorf("save afterwards: %v", err)
		}
	})
}

func TestDoubtLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		config := town.config("a")
		config.DoubtLimit = 20 * time.Second
		store := client.NewStore(town.open(t, config), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *player) { d.Coins = 1 }); err != nil {
			t.Fatal(err)
		}
		town.set(func() { town.leader = "" })
		saved := make(chan error, 1)
		go func() { saved <- p.Save(t.Context()) }()
		time.Sleep(18 * time.Second)
		if got := p.State(); got != client.InDoubt {
			t.Errorf("within the limit: got %v, want in doubt", got)
		}
		time.Sleep(5 * time.Second)
		if got := p.State(); got != client.Over {
			t.Errorf("beyond the limit: got %v, want over", got)
		}
		if err := <-saved; err == nil {
			t.Error("the save that waited: got no error")
		}
		// The cluster did not know. It is told when it is back, and the profile can be had again.
		town.set(func() { town.leader = "n1:7400" })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := store.StartSession(ctx, "ann"); err != nil {
			t.Errorf("the next session: %v", err)
		}
	})
}

// A process that was stopped sees at its first look that it is in doubt, before any timer has run. Its clock is the
// only thing that knows.
func TestStoppedProcessIsInDoubtAtTheFirstLook(t *testing.T) {
	for name, jump := range map[string]func(time.Time) time.Time{
		"both clocks":         func(now time.Time) time.Time { return now.Add(time.Minute) },
		"only the wall clock": func(now time.Time) time.Time { return now.Round(0).Add(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := clienttest.Start(t)
				var stopped atomic.Bool
				config := cluster.Config("a")
				config.Now = func() time.Time {
					if stopped.Load() {
						return jump(time.Now())
					}
					return time.Now()
				}
				p, err := client.NewStore(cluster.Open(t, config), "players", player{}).StartSession(t.Context(), "ann")
				if err != nil {
					t.Fatal(err)
				}
				if !p.IsActive() {
					t.Fatal("not active at the start")
				}
				stopped.Store(true)
				if got := p.State(); got != client.InDoubt {
					t.Errorf("first look after a minute's stop: got %v, want in doubt", got)
				}
				until(t, "the session to be held again", p.IsActive)
			})
		})
	}
}

func TestServerGoneRegistersAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		store := client.NewStore(cluster.Client(t, "a"), "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := cluster.Expire(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		q, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatalf("a session of the next incarnation: %v", err)
		}
		until(t, "the new session to be held", q.IsActive)
		if err := q.EndSession(t.Context()); err != nil {
			t.Error(err)
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

// Data that cannot be stored keeps the session, so that the game can mend it.
func TestRefusedLastSaveKeepsTheSession(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	store := client.NewStore[[]byte](cluster.Client(t, "a"), "blobs", nil)
	p, err := store.StartSession(ctx, "big")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Update(func(d *[]byte) { *d = make([]byte, 4<<20+1) }); err != nil {
		t.Fatal(err)
	}
	if err := p.EndSession(ctx); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("end with data over the limit: got %v, want ErrInvalid", err)
	}
	if !p.IsActive() {
		t.Errorf("afterwards: got %v, want held", p.State())
	}
	if err := p.Update(func(d *[]byte) { *d = make([]byte, 4<<20) }); err != nil {
		t.Fatal(err)
	}
	if err := p.EndSession(ctx); err != nil {
		t.Errorf("end with the largest data: %v", err)
	}
	if got, err := store.Get(ctx, "big"); err != nil || len(got.Data) != 4<<20 {
		t.Errorf("get the largest data: %v", err)
	}
}

func TestCloseReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		c := town.open(t, town.config("a"))
		store := client.NewStore(c, "players", player{})
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
		town.set(func() {
			town.after = func(_, method string, q proto.Message) error {
				if save, ok := q.(*profilev1.SaveRequest); ok && save.Key == "bob" {
					return errLost
				}
				return nil
			}
			town.before = func(_, _ string, q proto.Message) error {
				if save, ok := q.(*profilev1.SaveRequest); ok && save.Key == "ann" {
					return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_TOO_LARGE, Limit: 1})
				}
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := c.Close(ctx)
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
		if err := c.Close(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("second close: got %v, want ErrClosed", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	c := cluster.Client(t, "a")
	store := client.NewStore(c, "players", player{})
	const profiles = 200
	for i := range profiles {
		p, err := store.StartSession(ctx, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		p.OnLastSave(func(d *player, reason client.Reason) {
			if reason == client.Shutdown {
				d.Coins = 5
			}
		})
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	other := client.NewStore(cluster.Client(t, "b"), "players", player{})
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
