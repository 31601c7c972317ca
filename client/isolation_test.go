package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// enough is more requests than a client may have unsettled.
const enough = 1100

// noted keeps a client's log.
type noted struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (n *noted) Enabled(context.Context, slog.Level) bool { return true }

func (n *noted) Handle(_ context.Context, r slog.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	n.lines = append(n.lines, line+" ") // so that a key can be told from one that begins with it
	return nil
}

func (n *noted) WithAttrs([]slog.Attr) slog.Handler { return n }
func (n *noted) WithGroup(string) slog.Handler      { return n }

// about are the lines with all of these words.
func (n *noted) about(words ...string) (lines []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
next:
	for _, line := range n.lines {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue next
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// thrives does all that a game does, more often than a client may have unsettled requests.
func thrives(t *testing.T, store *client.Store[player]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // the race detector is slow
	defer cancel()
	p, err := store.StartSession(ctx, "healthy")
	if err != nil {
		t.Fatalf("start beside the others: %v", err)
	}
	for i := range enough {
		if err := p.Update(func(d *player) { d.Coins = i + 1 }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(ctx); err != nil {
			t.Fatalf("save %d beside the others: %v", i, err)
		}
	}
	if _, err := store.Send(ctx, "healthy", "hello"); err != nil {
		t.Fatalf("send beside the others: %v", err)
	}
	if err := p.EndSession(ctx); err != nil {
		t.Fatalf("end beside the others: %v", err)
	}
}

// hold keeps a profile's lock until free is called.
func hold(p *client.Profile[player]) (free func()) {
	stuck, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Update(func(d *player) {
			d.Coins = 1
			close(stuck)
			<-release
		})
	}()
	<-stuck
	return func() { close(release); <-done }
}

// A game that keeps one profile's lock, by a Read inside of Update for example, stops the saves of that profile alone, and
// is told which one it is.
func TestAProfileWhoseLockIsHeldStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		log := &noted{}
		config := town.config("a")
		config.Autosave = time.Second
		config.Log = slog.New(log)
		store := clienttest.Store(t, town.open(t, config), "players", player{})
		var free []func()
		for i := range 20 { // more than fetch messages at once
			p, err := store.StartSession(t.Context(), fmt.Sprint("stuck ", i))
			if err != nil {
				t.Fatal(err)
			}
			p.OnMessage(func(*player, client.Message) client.Answer { return client.AnswerDone })
			free = append(free, hold(p))
			if _, err := store.Send(t.Context(), p.Key(), "hello"); err != nil {
				t.Fatal(err)
			}
			go func() { _ = p.Save(t.Context()) }()
		}
		time.Sleep(3 * time.Second)
		thrives(t, store)
		heard, err := store.StartSession(t.Context(), "hears")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan struct{})
		heard.OnMessage(func(*player, client.Message) client.Answer { close(got); return client.AnswerDone })
		if _, err := store.Send(t.Context(), "hears", "hello"); err != nil {
			t.Fatal(err)
		}
		<-got
		for i := range 20 {
			if lines := log.about("LOCK_HELD", fmt.Sprintf("lock players/stuck %d:", i)); len(lines) != 1 {
				t.Errorf("profile %d: reported %q, want its lock once", i, lines)
			}
		}
		for _, f := range free {
			f()
		}
		time.Sleep(2 * time.Second)
		for i := range 20 {
			if town.Profile("players", fmt.Sprint("stuck ", i)).Revision == 0 {
				t.Errorf("profile %d was not saved once its lock was free", i)
			}
		}
	})
}

// A request that can never be sent, or is beyond the hard limits, is refused before it has a number: it costs the others
// nothing, and the profile is saved again once it is small enough.
func TestWhatCanNeverBeSentIsRefused(t *testing.T) {
	cluster := clienttest.Start(t)
	c := cluster.Client(t, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // the race detector is slow
	defer cancel()
	blobs := clienttest.Store[[]byte](t, c, "blobs", nil)
	p, err := blobs.StartSession(ctx, "big")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{5<<20 + 64<<10, 6 << 20} {
		if err := p.Update(func(d *[]byte) { *d = make([]byte, size) }); err != nil {
			t.Fatal(err)
		}
		var e *client.Error
		if err := p.Save(ctx); !errors.Is(err, client.ErrInvalid) || !errors.As(err, &e) || e.Limit != 4<<20 {
			t.Errorf("save of %d bytes: got %v, want ErrInvalid and the limit", size, err)
		}
		if !p.IsActive() {
			t.Fatalf("after it: got %v, want held", p.State())
		}
	}
	players := clienttest.Store(t, c, "players", player{})
	const latin1 = "Bj\xf6rn"
	for range enough {
		if _, err := players.Send(ctx, "ann", make([]byte, 8<<20)); !errors.Is(err, client.ErrInvalid) {
			t.Fatalf("send of 8 MiB: got %v, want ErrInvalid", err)
		}
		if _, err := players.Send(ctx, latin1, "hello"); !errors.Is(err, client.ErrInvalid) {
			t.Fatalf("send to a key in Latin-1: got %v, want ErrInvalid", err)
		}
		if _, err := players.StartSession(ctx, latin1); !errors.Is(err, client.ErrInvalid) {
			t.Fatalf("start of a key in Latin-1: got %v, want ErrInvalid", err)
		}
		if _, err := players.Get(ctx, latin1); !errors.Is(err, client.ErrInvalid) {
			t.Fatalf("get of a key in Latin-1: got %v, want ErrInvalid", err)
		}
		if _, err := players.StartSession(ctx, strings.Repeat("k", 257)); !errors.Is(err, client.ErrInvalid) {
			t.Fatalf("start of a key of 257 bytes: got %v, want ErrInvalid", err)
		}
	}
	config := cluster.Config("b")
	config.Name = latin1
	if _, err := client.Open(ctx, config); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("open with a name in Latin-1: got %v, want ErrInvalid", err)
	}
	thrives(t, players)
	if err := p.Update(func(d *[]byte) { *d = []byte("small") }); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(ctx); err != nil {
		t.Errorf("save once it is small again: %v", err)
	}
}

// noSpace makes the town behave as a node with a nearly full disk: it carries out only saves that end a session.
func noSpace(town *town) {
	town.Set(func() {
		town.Before = func(_, _ string, request proto.Message) error {
			if save, ok := request.(*profilev1.SaveRequest); ok && !save.End {
				return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NO_SPACE})
			}
			return nil
		}
	})
}

// Short of space the nodes take last saves. They need not wait behind an autosave that was only refused, nor for the numbers
// of such.
func TestALastSaveOvertakesASaveThatWasOnlyRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		c := town.open(t, town.config("a"))
		store := clienttest.Store(t, c, "players", player{})
		var sessions []*client.Profile[player]
		for i := range enough {
			p, err := store.StartSession(t.Context(), fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, p)
		}
		noSpace(town)
		saved := make(chan error, enough)
		for i, p := range sessions {
			if err := p.Update(func(d *player) { d.Coins = i + 1 }); err != nil {
				t.Fatal(err)
			}
			go func() { saved <- p.Save(t.Context()) }()
		}
		time.Sleep(10 * time.Second)
		select {
		case err := <-saved:
			t.Fatalf("a save that is not a last one: got %v, want it to wait for space", err)
		default:
		}
		began := time.Now()
		for _, p := range sessions[:10] {
			if err := p.EndSession(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Shutdown(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the last saves took %v, want seconds", took)
		}
		for range sessions {
			if err := <-saved; err != nil {
				t.Fatalf("a save that a last one took over: got %v, and it is stored", err)
			}
		}
		for i, p := range sessions {
			if got := town.Profile("players", p.Key()); got.Revision != 1 || got.Owner != 0 {
				t.Fatalf("profile %d: got revision %d and owner %d, want 1 and no owner", i, got.Revision, got.Owner)
			}
		}
	})
}

// A save of which a copy may have happened is not overtaken.
func TestALastSaveWaitsForASaveThatMayHaveHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		lost := false
		town.Set(func() {
			town.After = func(_, method string, _ proto.Message) error {
				if method == "Save" && !lost {
					lost = true
					noSpace(town)
					time.AfterFunc(time.Second, func() { town.Set(func() { town.Before = nil }) })
					return errLost
				}
				return nil
			}
		})
		if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
			t.Fatal(err)
		}
		go func() { _ = p.Save(t.Context()) }()
		time.Sleep(100 * time.Millisecond)
		if err := p.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := town.ann().Revision; got != 1 {
			t.Errorf("got revision %d, want the first save to be known", got)
		}
	})
}

// A node that fails at one profile's saves keeps no other request from new numbers.
func TestASaveThatIsNeverAnsweredStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p := playing(t, "n1:7400")
		town.Set(func() {
			town.Before = func(_, _ string, request proto.Message) error {
				if save, ok := request.(*profilev1.SaveRequest); ok && save.Key == "ann" {
					return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_FAILED})
				}
				return nil
			}
		})
		if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
			t.Fatal(err)
		}
		saved := make(chan error, 1)
		go func() { saved <- p.Save(t.Context()) }()
		time.Sleep(time.Second)
		thrives(t, store)
		town.Set(func() { town.Before = nil })
		if err := <-saved; err != nil {
			t.Errorf("once it is answered: %v", err)
		}
		if got := town.ann().Revision; got != 1 {
			t.Errorf("got revision %d, want it stored once", got)
		}
	})
}

// countingCodec counts how often it encodes.
type countingCodec struct {
	client.JSON
	encoded *atomic.Int64
}

func (c countingCodec) ID() uint8 { return 16 }

func (c countingCodec) Encode(value any) ([]byte, error) {
	c.encoded.Add(1)
	return c.JSON.Encode(value)
}

// A profile that can never be stored as it is takes no time from the others at each autosave: it is looked at again once
// it has changed, or if a handler may change it.
func TestDataThatCannotBeStoredIsEncodedOnceUntilItChanges(t *testing.T) {
	town := newTown(t, "a:1")
	var encoded atomic.Int64
	store, err := client.NewStore(town.open(t, town.config("a")), "blobs", player{}, client.WithCodec(countingCodec{encoded: &encoded}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.StartSession(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	save := func(want error, wantEncoded int64) {
		t.Helper()
		before := encoded.Load()
		if err := p.Save(t.Context()); !errors.Is(err, want) {
			t.Errorf("save: %v, want %v", err, want)
		}
		if got := encoded.Load() - before; got != wantEncoded {
			t.Errorf("encoded %d times, want %d", got, wantEncoded)
		}
	}
	_ = p.Update(func(d *player) { d.Items = []string{strings.Repeat("x", 6<<20)} })
	save(client.ErrInvalid, 1)
	save(client.ErrInvalid, 0)
	_ = p.Update(func(d *player) { d.Coins++ })
	save(client.ErrInvalid, 1)
	stop := p.OnSave(func(d *player) { d.Items = nil })
	save(nil, 1)
	stop()
}
