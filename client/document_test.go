package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// lines is a log that a test can read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

type oldHero struct {
	Level int
	Home  struct{ X int }
	Bag   []oldItem
}

type oldItem struct{ ID int }

type newHero struct {
	Guild string
	Level int
	Home  struct{ X, Y int }
	Bag   []newItem
	Seed  uint64
}

type newItem struct {
	ID      int
	Quality float64
}

// While a new version of a game rolls out, players go back and forth between the versions.
func TestAnOldVersionKeepsWhatANewOneStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		var log lines
		config := cluster.Config("old")
		config.Log = slog.New(slog.NewTextHandler(&log, nil))
		old := clienttest.Store(t, cluster.Open(t, config), "heroes", oldHero{Level: 1})
		fresh := clienttest.Store(t, cluster.Client(t, "new"), "heroes", newHero{Level: 1, Guild: "none"})

		p, err := fresh.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		want := newHero{Guild: "red", Level: 5, Bag: []newItem{{1, 0.5}, {2, 0.25}, {3, 0.125}}, Seed: math.MaxUint64}
		want.Home.Y = 7
		if err := p.Update(func(h *newHero) { *h = want }); err != nil {
			t.Fatal(err)
		}
		if err := p.EndSession(ctx); err != nil {
			t.Fatal(err)
		}
		revision := p.Revision()

		q, err := old.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Save(ctx); err != nil || q.Revision() != revision {
			t.Errorf("save without a change: got revision %d, %v, want %d", q.Revision(), err, revision)
		}
		for range 2 {
			if err := q.Update(func(h *oldHero) { h.Level++; h.Home.X++; h.Bag[1].ID++ }); err != nil {
				t.Fatal(err)
			}
			if err := q.Save(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.EndSession(ctx); err != nil {
			t.Fatal(err)
		}
		want.Level, want.Home.X, want.Bag[1] = 7, 2, newItem{ID: 4}
		got, err := fresh.Get(ctx, "ann")
		if err != nil || fmt.Sprint(got.Data) != fmt.Sprint(want) {
			t.Errorf("the new version reads %+v, %v, want %+v", got.Data, err, want)
		}
		synctest.Wait()
		if log.count("drops fields") != 1 || log.count("$.Bag[*].Quality") != 1 {
			t.Errorf("the log of the old version: got %q, want the dropped fields, once", log.b.String())
		}
	})
}

// A value that cannot be stored is refused with its path, changes nothing, and the session goes on.
func TestASaveOfWhatCannotBeLoadedAgainIsRefused(t *testing.T) {
	type mage struct {
		Name  string
		Staff fmt.Stringer
		Any   any
		Stats map[string]float64
	}
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		mages := clienttest.Store(t, cluster.Client(t, "a"), "mages", mage{})
		p, err := mages.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		set := func(m mage) {
			t.Helper()
			if err := p.Update(func(have *mage) { *have = m }); err != nil {
				t.Fatal(err)
			}
		}
		for want, m := range map[string]mage{
			"$.Staff":       {Staff: time.Second},
			"$.Any.x":       {Any: map[string]any{"x": step{}}},
			"$.Name":        {Name: "Jos\xe9"},
			"$.Stats.speed": {Stats: map[string]float64{"speed": math.NaN()}},
		} {
			set(m)
			if err := p.Save(ctx); !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("save of %+v: got %v, want ErrInvalid with %s", m, err, want)
			}
			if _, err := mages.Set(ctx, "bob", m, client.AnyRevision()); !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("set of %+v: got %v, want ErrInvalid with %s", m, err, want)
			}
		}
		set(mage{Name: "José", Any: []any{1, "a"}})
		if err := p.EndSession(ctx); err != nil || p.Revision() != 1 {
			t.Errorf("once it can be stored: got revision %d, %v, want 1", p.Revision(), err)
		}
		if _, err := mages.StartSession(ctx, "ann"); err != nil {
			t.Errorf("the next session: %v", err)
		}
	})
}

func TestTryChangesAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		heroes := clienttest.Store(t, cluster.Client(t, "a"), "heroes", hero{Bag: map[string]int{"rope": 1}, Pet: &step{1, 2}})
		p, err := heroes.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		spoil := func(h *hero) { h.Level, h.Bag["rope"], h.Pet.X = 9, 9, 9 }
		intact := func(when string) {
			t.Helper()
			p.Read(func(h *hero) {
				if h.Level != 0 || h.Bag["rope"] != 1 || h.Pet.X != 1 {
					t.Errorf("%s: got %+v, %+v", when, h, h.Pet)
				}
			})
		}
		sold := errors.New("sold out")
		if err := p.Try(func(h *hero) error { spoil(h); return sold }); err != sold {
			t.Errorf("an error: got %v, want %v as it is", err, sold)
		}
		intact("after an error")
		func() {
			defer func() {
				if r := recover(); r != "bang" {
					t.Errorf("a panic: recovered %v, want the same panic", r)
				}
			}()
			_ = p.Try(func(h *hero) error { spoil(h); panic("bang") })
		}()
		intact("after a panic")
		if err := p.Try(func(h *hero) error { spoil(h); return nil }); err != nil {
			t.Error(err)
		}
		if err := p.EndSession(ctx); err != nil { // the session went on
			t.Error(err)
		}
		if got, err := heroes.Get(ctx, "ann"); err != nil || got.Data.Level != 9 || got.Data.Bag["rope"] != 9 || got.Data.Pet.X != 9 {
			t.Errorf("stored: got %+v, %v", got.Data, err)
		}
		if err := p.Try(func(*hero) error { t.Error("it ran"); return nil }); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("once the session is over: got %v, want ErrSessionOver", err)
		}
	})
}

// No field is lost silently in a copy: a T with fields that would be needs a function that copies.
func TestTryNeedsAFunctionForWhatJSONLeavesOut(t *testing.T) {
	type fighter struct {
		Level int
		Tired bool `json:"-"`
		combo []int
	}
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		c := cluster.Client(t, "a")
		p, err := clienttest.Store(t, c, "without", fighter{}).StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		err = p.Try(func(*fighter) error { t.Error("it ran"); return nil })
		if !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), "Tired") || !strings.Contains(err.Error(), "WithCopy") {
			t.Errorf("without a function: got %v, want ErrInvalid that names the field and WithCopy", err)
		}
		with := client.WithCopy(func(f fighter) fighter {
			f.combo = append([]int(nil), f.combo...)
			return f
		})
		q, err := clienttest.Store(t, c, "with", fighter{}, with).StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Update(func(f *fighter) { f.Tired, f.combo = true, []int{1} }); err != nil {
			t.Fatal(err)
		}
		_ = q.Try(func(f *fighter) error { f.combo[0] = 2; return errors.New("no") })
		if err := q.Try(func(f *fighter) error { f.Level = 3; return nil }); err != nil {
			t.Error(err)
		}
		q.Read(func(f *fighter) {
			if f.Level != 3 || !f.Tired || f.combo[0] != 1 {
				t.Errorf("with a function: got %+v", *f)
			}
		})
		if _, err := client.NewStore(c, "other", hero{}, with); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("a function for another T: got %v, want ErrInvalid", err)
		}
		raw, err := clienttest.Store[json.RawMessage](t, c, "raw", nil).StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Try(func(d *json.RawMessage) error { (*d)[0] = 'x'; return errors.New("no") })
		raw.Read(func(d *json.RawMessage) {
			if string(*d) != "null" {
				t.Errorf("raw after an error: got %s", *d)
			}
		})
	})
}

func TestTemplatesThatCannotWorkAreRefused(t *testing.T) {
	type omits struct {
		A int `json:"a,omitempty"`
	}
	synctest.Test(t, func(t *testing.T) {
		c := clienttest.Start(t).Client(t, "a")
		_, nilMap := client.NewStore(c, "s", map[string]int(nil))
		_, comesBack := client.NewStore(c, "s", omits{1})
		_, unreadable := client.NewStore(c, "s", struct{ W fmt.Stringer }{time.Second})
		for _, err := range []error{nilMap, comesBack, unreadable} {
			if !errors.Is(err, client.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		}
	})
}
