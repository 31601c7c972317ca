package server_test

import (
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

// gated is a connection from which nothing is read while its gate is closed.
type gated struct {
	net.Conn
	mu   sync.Mutex
	open *sync.Cond
	shut bool
}

func (g *gated) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.open.Wait()
	}
	return n, err
}

func (g *gated) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.open.Broadcast()
}

// reader asks for a profile's data over a connection that can be made to take nothing off.
type reader struct {
	profilev1.ProfilesClient
	t       *testing.T
	conn    *gated
	answers chan error
}

func (w *world) reader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, answers: make(chan error, 100)}
	dialled := make(chan *gated, 1)
	r.ProfilesClient = profilev1.NewProfilesClient(w.dialOver(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := w.lis.DialContext(ctx)
		g := &gated{Conn: conn}
		g.open = sync.NewCond(&g.mu)
		dialled <- g
		return g, err
	}))
	if _, err := r.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "nobody"}); err != nil {
		t.Fatal(err)
	}
	r.conn = <-dialled
	return r
}

func (r *reader) ask(times int) {
	for range times {
		go func() {
			_, err := r.Get(soon(r.t), &profilev1.GetRequest{Store: "players", Key: "p"})
			r.answers <- err
		}()
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience / 3); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// A connection that takes nothing off holds its share of answers, and no more, however many it asks for; others are
// answered. What it held is there again once it has taken it, or is gone.
func TestASlowConnectionHoldsNoMoreThanItsShare(t *testing.T) {
	const share = 2 * fsm.MaxData
	w, _ := fake(t, server.Limits{ReadBytes: 2*share + fsm.MaxData, ReadShare: share, Call: patience})
	g := w.register("gs-1")
	g.save("p", g.start("p", wait).Header.Token, 0, noise(fsm.MaxData))

	slow, gone := w.reader(t), w.reader(t)
	for _, r := range []*reader{slow, gone} {
		r.conn.set(true)
		r.ask(10)
	}
	// The bytes of an answer are a little more than its data, which was all that room was made for.
	until(t, "two connections hold their shares", func() bool { return w.server.ReadsHeld() == 2*share })
	for range 20 {
		w.get("p")
		if held := w.server.ReadsHeld(); held > 2*share+fsm.MaxData {
			t.Fatalf("answers hold %d bytes", held)
		}
	}

	slow.conn.set(false)
	for range 10 {
		if err := <-slow.answers; err != nil {
			t.Errorf("an answer that was waited for: %v", err)
		}
	}
	until(t, "the slow connection holds nothing any more", func() bool { return w.server.ReadsHeld() == share })
	_ = gone.conn.Close()
	gone.conn.set(false)
	until(t, "nothing is held for a connection that is gone", func() bool { return w.server.ReadsHeld() == 0 })
	slow.ask(5)
	for range 5 {
		if err := <-slow.answers; err != nil {
			t.Errorf("an answer after all: %v", err)
		}
	}
	until(t, "nothing is held", func() bool { return w.server.ReadsHeld() == 0 })
}

// Room is given back whatever becomes of a call.
func TestRoomIsGivenBack(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	g := w.register("gs-1")
	g.save("p", g.start("p", wait).Header.Token, 0, noise(2000))
	if _, err := g.profiles.Send(soon(t), &profilev1.SendRequest{Request: g.next(), Store: "players", Key: "p", Body: []byte(`"hi"`)}); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"a profile": func(ctx context.Context) error {
			_, err := w.profiles.Get(ctx, &profilev1.GetRequest{Store: "players", Key: "p"})
			return err
		},
		"no profile": func(ctx context.Context) error {
			_, err := w.profiles.Get(ctx, &profilev1.GetRequest{Store: "players", Key: "q"})
			return err
		},
		"messages": func(ctx context.Context) error {
			_, err := w.profiles.Messages(ctx, &profilev1.MessagesRequest{Store: "players", Key: "p"})
			return err
		},
		"a list": func(ctx context.Context) error {
			_, err := w.profiles.List(ctx, &profilev1.ListRequest{Store: "players"})
			return err
		},
		"a session": func(ctx context.Context) error {
			_, err := w.profiles.StartSession(ctx, &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "r"})
			return err
		},
	} {
		if err := call(soon(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		until(t, name+" is taken off", func() bool { return w.server.ReadsHeld() == 0 })
	}
}

// A caller that gives up at a random moment leaves nothing that counts as held, whether its answer was on its way, waited for
// its connection, or came too late for gRPC to take it.
func TestCallsThatAreCancelledAtRandomHoldNothing(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	g := w.register("gs-1")
	g.save("p", g.start("p", wait).Header.Token, 0, noise(200_000))
	var calling sync.WaitGroup
	for range 8 {
		calling.Go(func() {
			for range 3000 {
				ctx, cancel := context.WithCancel(t.Context())
				given := time.AfterFunc(rand.N(2*time.Millisecond), cancel)
				_, _ = w.profiles.Get(ctx, &profilev1.GetRequest{Store: "players", Key: "p"})
				given.Stop()
				cancel()
			}
		})
	}
	calling.Wait()
	until(t, "nothing is held", func() bool {
		runtime.GC() // gRPC drops answers to calls that have ended without a word: they are given back with their memory
		return w.server.ReadsHeld() == 0
	})
	for range 20 {
		w.get("p")
	}
}

// What is larger than a whole budget waits until nothing else is there, and is not refused for ever.
func TestWhatIsLargerThanItsBudgetGoesAlone(t *testing.T) {
	w, _ := fake(t, server.Limits{SmallBytes: 500, LargeBytes: 1000, ReadBytes: 1000, ReadShare: 500})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	g.save("p", token, 0, noise(2000))
	g.save("p", token, 1, noise(100_000))
	answers := make(chan error, 4)
	for range cap(answers) {
		go func() {
			_, err := w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p"})
			answers <- err
		}()
	}
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
