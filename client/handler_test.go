package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
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
	"github.com/profilenode/profilenode/internal/server/servertest"
)

// logged collects a client's log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// playingLogged is playing with a log.
func playingLogged(t testing.TB) (*town, *client.Store[player], *client.Profile[player], *logged) {
	t.Helper()
	town, log := newTown(t, "n1:7400"), &logged{}
	config := town.config("a")
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	store := clienttest.Store(t, town.open(t, config), "players", player{})
	p, err := store.StartSession(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	return town, store, p, log
}

func send(t testing.TB, store *client.Store[player], message any, options ...client.SendOption) {
	t.Helper()
	if _, err := store.Send(t.Context(), "ann", message, options...); err != nil {
		t.Fatal(err)
	}
}

// A message that a handler wants later stays while others behind it are applied and cleared; it is offered again after the
// next save, and is applied once.
func TestMessageForLaterIsOfferedAgainAfterTheNextSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p := playing(t, "n1:7400")
		var ready atomic.Bool
		var offered []uint64
		p.OnMessage(func(d *player, m client.Message) client.Answer {
			offered = append(offered, m.ID)
			if m.ID == 1 && !ready.Load() {
				return client.AnswerLater
			}
			return take(d, m)
		})
		send(t, store, gift{1})
		send(t, store, gift{10})
		until(t, "the second to be cleared", func() bool {
			got, err := store.Get(t.Context(), "ann")
			return err == nil && got.Messages == 1 && got.Data.Coins == 10
		})
		ready.Store(true)
		if err := p.Update(func(d *player) { d.Coins += 100 }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "the first to be cleared", func() bool {
			got, err := store.Get(t.Context(), "ann")
			return err == nil && got.Messages == 0 && got.Data.Coins == 111
		})
		synctest.Wait()
		p.Read(func(*player) {
			done := 0
			for _, id := range offered {
				if id == 2 {
					done++
				}
			}
			if done != 1 || offered[0] != 1 || offered[len(offered)-1] != 1 {
				t.Errorf("offered %v, want 1, once 2, and 1 again", offered)
			}
		})
	})
}

// Without a save it is offered again every thirty seconds, and not sooner.
func TestMessageForLaterIsOfferedAgainAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p := playing(t, "n1:7400")
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		var at []time.Duration
		began := time.Now()
		p.OnMessage(func(*player, client.Message) client.Answer {
			at = append(at, time.Since(began).Round(time.Second))
			return client.AnswerLater
		})
		send(t, store, gift{1})
		time.Sleep(95 * time.Second)
		synctest.Wait()
		p.Read(func(*player) {
			if want := []time.Duration{0, 30 * time.Second, 60 * time.Second, 90 * time.Second}; !slices.Equal(at, want) {
				t.Errorf("offered at %v, want %v", at, want)
			}
		})
	})
}

// A message that no handler took in one session, because it came too early or was of no kind that they take, is there in the
// next.
func TestMessageForLaterIsThereForTheNextOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p := playing(t, "n1:7400")
		p.OnMessage(func(_ *player, m client.Message) client.Answer { return client.Answer(m.ID % 3) })
		for range 3 {
			send(t, store, gift{1}) // answered with done, later and not mine
		}
		synctest.Wait()
		if err := p.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		q, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		var left []uint64
		q.OnMessage(func(_ *player, m client.Message) client.Answer {
			left = append(left, m.ID)
			return client.AnswerDone
		})
		if want := []uint64{2, 3}; !slices.Equal(left, want) {
			t.Errorf("the next session is given %v, want %v", left, want)
		}
	})
}

func TestHandleChoosesByKindAndDecodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p, log := playingLogged(t)
		const greeting client.Kind = "greeting"
		send(t, store, gift{5}, client.Kind("gift"))
		send(t, store, []byte("hello"), greeting)
		send(t, store, []byte(`{"Coins": "many"}`), client.Kind("gift"))
		send(t, store, gift{7})
		var words []string
		client.Handle(p, "gift", func(d *player, g gift, info client.Message) client.Answer {
			d.Coins += g.Coins
			words = append(words, fmt.Sprint("gift ", info.ID))
			return client.AnswerDone
		})
		client.Handle(p, greeting, func(_ *player, body []byte, _ client.Message) client.Answer {
			words = append(words, string(body))
			return client.AnswerDone
		})
		p.OnMessage(func(_ *player, m client.Message) client.Answer {
			words = append(words, fmt.Sprint("untaken: ", m.ID))
			return client.AnswerNotMine
		})
		synctest.Wait()
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Read(func(d *player) {
			slices.Sort(words)
			if want := []string{"gift 1", "hello", "untaken: 3", "untaken: 4"}; d.Coins != 5 || !slices.Equal(words, want) {
				t.Errorf("%d coins and %q, want 5 and %q", d.Coins, words, want)
			}
		})
		time.Sleep(time.Minute)
		if n := log.count("UNREADABLE_MESSAGE"); n != 1 {
			t.Errorf("the message that cannot be decoded was logged %d times, want once", n)
		}
		if got, err := store.Get(t.Context(), "ann"); err != nil || got.Messages != 2 {
			t.Errorf("afterwards %+v, %v, want two messages that wait", got, err)
		}
	})
}

func TestStoppedHandlerIsGivenNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p := playing(t, "n1:7400")
		var stop func()
		stop = p.OnMessage(func(d *player, m client.Message) client.Answer {
			stop() // from within
			return take(d, m)
		})
		send(t, store, gift{1})
		synctest.Wait()
		send(t, store, gift{10})
		synctest.Wait()
		if got := coins(p); got != 1 {
			t.Errorf("%d coins, want those of the first message", got)
		}
		p.OnMessage(take)
		until(t, "a later handler to get the second", func() bool { return coins(p) == 11 })
	})
}

func TestKindThatIsTooLongOrNoTextIsRefused(t *testing.T) {
	cluster := clienttest.Start(t)
	store := clienttest.Store(t, cluster.Client(t, "a"), "players", player{})
	for _, kind := range []client.Kind{client.Kind(strings.Repeat("k", 65)), "caf\xe9", "a\nb"} {
		if _, err := store.Send(t.Context(), "ann", gift{1}, kind); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("kind %q: %v, want ErrInvalid", kind, err)
		}
	}
	if _, err := store.Send(t.Context(), "ann", gift{1}, client.Kind(strings.Repeat("k", 64))); err != nil {
		t.Errorf("a kind of 64 bytes: %v", err)
	}
}

// A message handler that panics ends its session and nothing else: nothing that it left behind is stored, the log counts the
// panic in the release, and the process lives.
func TestPanicInAMessageHandlerEndsOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p, log := playingLogged(t)
		other, err := store.StartSession(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		var end atomic.Pointer[client.End]
		p.OnSessionEnd(func(e client.End) { end.Store(&e) })
		p.OnMessage(func(d *player, m client.Message) client.Answer {
			d.Coins = 999
			var items []string
			_ = items[m.ID]
			return client.AnswerDone
		})
		send(t, store, gift{1}, client.Kind("gift"))
		<-p.Done()
		for _, words := range []string{`message 1 of kind "gift"`, "index out of range", "players/ann"} {
			if err := p.Err(); !errors.Is(err, client.ErrSessionOver) || !strings.Contains(err.Error(), words) {
				t.Errorf("the session is over with %v, which does not say %q", err, words)
			}
		}
		until(t, "the end to be told", func() bool { return end.Load() != nil })
		if e := end.Load(); e.Reason != client.EndPanicked {
			t.Errorf("the session ended as %v", e.Reason)
		}
		if log.count("TestPanicInAMessageHandlerEndsOneSession") == 0 {
			t.Error("the log has no stack")
		}
		until(t, "the count of the panic", func() bool {
			m := storedMessage(t, town)
			return m.Panics == 1 && strings.Contains(m.PanicText, "index out of range")
		})
		if err := p.Update(func(*player) {}); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("update afterwards: %v", err)
		}
		if !other.IsActive() || other.Save(t.Context()) != nil {
			t.Error("the session of another profile did not go on")
		}
		again, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if got := coins(again); got != 0 {
			t.Errorf("%d coins were stored of the handler's change", got)
		}
		var panics int
		again.OnMessage(func(_ *player, m client.Message) client.Answer {
			panics = m.Panics
			return client.AnswerDone
		})
		if panics != 1 {
			t.Errorf("the next session is told of %d panics, want 1", panics)
		}
	})
}

func storedMessage(t *testing.T, town *town) servertest.Message {
	t.Helper()
	messages := town.ann().Messages
	if len(messages) == 0 {
		t.Fatal("no message waits for ann")
	}
	return messages[0]
}

// The count of a panic is the release, tried under one number until it is answered: it is neither lost nor made twice, and
// no other release of the session goes before it.
func TestPanicIsCountedOnceThroughLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p, _ := playingLogged(t)
		releases := map[uint64]int{}
		town.Set(func() {
			town.After = func(_, method string, q proto.Message) error {
				release, ok := q.(*profilev1.ReleaseRequest)
				if !ok {
					return nil
				}
				if len(release.Panics) != 1 || release.Cause != profilev1.Cause_CAUSE_PANICKED {
					t.Errorf("released with %v", release)
				}
				number := release.Request.Number
				if releases[number]++; releases[number] < 4 {
					return errLost
				}
				return nil
			}
		})
		p.OnMessage(func(*player, client.Message) client.Answer { panic("poison") })
		send(t, store, gift{1})
		<-p.Done()
		town.TellLost("players", "ann")
		time.Sleep(time.Minute)
		synctest.Wait()
		if m := storedMessage(t, town); m.Panics != 1 || m.PanicText != "poison" {
			t.Errorf("the message counts %d panics of %q", m.Panics, m.PanicText)
		}
		if len(releases) != 1 {
			t.Errorf("released under %d numbers, want one", len(releases))
		}
	})
}

// Closing right after a panic still counts it: the goodbye would end the session without.
func TestPanicIsCountedThoughTheClientCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		c := town.open(t, town.config("a"))
		store := clienttest.Store(t, c, "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		send(t, store, gift{1})
		town.Set(func() {
			var slow atomic.Int32
			town.Before = func(_, method string, _ proto.Message) error {
				if n := slow.Add(1); method == "Release" && n < 20 {
					return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY})
				}
				return nil
			}
		})
		p.OnMessage(func(*player, client.Message) client.Answer { panic("poison") })
		<-p.Done()
		_ = c.Close()
		if m := storedMessage(t, town); m.Panics != 1 {
			t.Errorf("the message counts %d panics, want 1", m.Panics)
		}
	})
}

// A handler that ends its goroutine, as a test's FailNow does, leaves no lock behind.
func TestMessageHandlerThatEndsItsGoroutineEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p := playing(t, "n1:7400")
		p.OnMessage(func(*player, client.Message) client.Answer {
			runtime.Goexit()
			return client.AnswerDone
		})
		send(t, store, gift{1})
		<-p.Done()
		p.Read(func(*player) {})
		if err := p.Err(); !strings.Contains(err.Error(), "runtime.Goexit") {
			t.Errorf("over with %v", err)
		}
	})
}

// A message that makes its handler panic costs three sessions, wherever they are, and no more: it is set aside, the one
// behind it is handled, and the game goes on.
func TestPoisonMessageIsSetAsideAfterThreeSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		stores := []*client.Store[player]{
			clienttest.Store(t, cluster.Client(t, "a"), "players", player{}),
			clienttest.Store(t, cluster.Client(t, "b"), "players", player{}),
		}
		send(t, stores[0], gift{-1}, client.Kind("gift"))
		send(t, stores[0], gift{5}, client.Kind("gift"))
		handle := func(d *player, g gift, _ client.Message) client.Answer {
			if g.Coins < 0 {
				panic("a gift of less than nothing")
			}
			d.Coins += g.Coins
			return client.AnswerDone
		}
		for try := range 3 {
			p, err := stores[try%2].StartSession(ctx, "ann")
			if err != nil {
				t.Fatal(err)
			}
			client.Handle(p, "gift", handle)
			<-p.Done()
		}
		p, err := stores[1].StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		client.Handle(p, "gift", handle)
		until(t, "the message behind it", func() bool { return coins(p) == 5 }) // it is fetched if the session had to wait
		if err := p.EndSession(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := stores[0].Get(ctx, "ann")
		if err != nil || got.Data.Coins != 5 || got.Messages != 0 || got.SetAside != 1 {
			t.Errorf("afterwards %+v, %v, want 5 coins and one message set aside", got, err)
		}
	})
}
