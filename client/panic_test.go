package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// touchy panics when it is encoded or decoded, if it is told to.
type touchy struct {
	Coins  int
	Broken bool
}

type plainTouchy touchy

func (d touchy) MarshalJSON() ([]byte, error) {
	if d.Broken {
		panic("no JSON of this")
	}
	return client.JSON{}.Encode((*plainTouchy)(&d))
}

func (d *touchy) UnmarshalJSON(data []byte) error {
	if err := (client.JSON{}).Decode(data, (*plainTouchy)(d)); err != nil {
		return err
	}
	if d.Coins == 13 {
		panic("no data of this")
	}
	return nil
}

// A handler that panics while it has the data ends its session, and the next one loads the stored data. One that has no data
// ends nothing. Either is reported, and no other session notices.
func TestAPanicEndsAtMostItsSession(t *testing.T) {
	for _, c := range []struct {
		name string
		ends bool
		act  func(t *testing.T, store *client.Store[touchy], p *client.Profile[touchy])
	}{
		{"Update", true, func(t *testing.T, _ *client.Store[touchy], p *client.Profile[touchy]) {
			defer func() {
				if got := recover(); got != "boom" {
					t.Errorf("Update panicked with %v, want the value that the game panicked with", got)
				}
			}()
			_ = p.Update(func(d *touchy) { d.Coins = 99; panic("boom") })
		}},
		{"OnMessage", true, func(t *testing.T, store *client.Store[touchy], p *client.Profile[touchy]) {
			p.OnMessage(func(*touchy, client.Message) client.Answer { panic("boom") })
			if _, err := store.Send(t.Context(), p.Key(), "hello"); err != nil {
				t.Fatal(err)
			}
		}},
		{"OnSave", true, func(_ *testing.T, _ *client.Store[touchy], p *client.Profile[touchy]) {
			p.OnSave(func(*touchy) { panic("boom") })
		}},
		{"OnLastSave", true, func(t *testing.T, _ *client.Store[touchy], p *client.Profile[touchy]) {
			p.OnLastSave(func(*touchy, client.LastSaveReason) { panic("boom") })
			if err := p.EndSession(t.Context()); !errors.Is(err, client.ErrSessionOver) {
				t.Errorf("end: got %v, want ErrSessionOver", err)
			}
		}},
		{"MarshalJSON", true, func(t *testing.T, _ *client.Store[touchy], p *client.Profile[touchy]) {
			if err := p.Update(func(d *touchy) { d.Broken = true }); err != nil {
				t.Fatal(err)
			}
		}},
		{"OnAfterSave", false, func(t *testing.T, _ *client.Store[touchy], p *client.Profile[touchy]) {
			p.OnAfterSave(func(client.Saved) { panic("boom") })
			if err := p.Update(func(d *touchy) { d.Coins = 2 }); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := clienttest.Start(t)
				log := &noted{}
				config := cluster.Config("a")
				config.Autosave = time.Second
				config.Log = slog.New(log)
				opened := cluster.Open(t, config)
				store := clienttest.Store(t, opened, "touchy", touchy{})
				p, err := store.StartSession(t.Context(), "ann")
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Update(func(d *touchy) { d.Coins = 1 }); err != nil {
					t.Fatal(err)
				}
				if err := p.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
				ended := make(chan client.End, 1)
				p.OnSessionEnd(func(end client.End) { ended <- end; panic("and once more") })
				c.act(t, store, p)
				time.Sleep(5 * time.Second)
				if c.ends {
					if end := <-ended; end.Reason != client.EndPanicked {
						t.Errorf("the session ended for %q, want the panic", end.Reason)
					}
					if err := p.Update(func(*touchy) {}); !errors.Is(err, client.ErrSessionOver) {
						t.Errorf("a later Update: got %v, want ErrSessionOver", err)
					}
					p.Read(func(*touchy) {}) // its lock is free
				} else if !p.IsActive() {
					t.Errorf("the session: got %v, %v, want held", p.State(), p.Err())
				}
				if len(log.about("PANICKED", "touchy/ann")) == 0 {
					t.Error("the panic was not reported")
				}
				if c.ends {
					again, err := store.StartSession(t.Context(), "ann", client.IfOwnedRefuse)
					if err != nil {
						t.Fatalf("start it again: %v", err)
					}
					again.Read(func(d *touchy) {
						if d.Coins != 1 {
							t.Errorf("loaded %d coins, want the data stored before the panic", d.Coins)
						}
					})
				}
				thrives(t, clienttest.Store(t, opened, "players", player{}))
			})
		})
	}
}

// If a codec panics at the data that it is to load, the profile is given back, and the caller is told.
func TestAPanicOfTheCodecAtTheStartGivesTheProfileBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		a := cluster.Client(t, "a")
		store := clienttest.Store(t, a, "touchy", touchy{})
		if _, err := clienttest.Store(t, a, "touchy", plainTouchy{}).Set(t.Context(), "ann", plainTouchy{Coins: 13}, client.AtRevision(0)); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the codec's panic did not reach the caller")
				}
			}()
			_, _ = store.StartSession(t.Context(), "ann")
		}()
		b := clienttest.Store(t, cluster.Client(t, "b"), "touchy", plainTouchy{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := b.StartSession(ctx, "ann"); err != nil {
			t.Errorf("another game server: %v", err)
		}
	})
}

// Handlers of the client itself may panic, too.
func TestAPanicOfOnDoubtIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		log := &noted{}
		config := cluster.Config("a")
		config.Log = slog.New(log)
		config.OnDoubt = func() { panic("boom") }
		resumed := make(chan struct{}, 1)
		config.OnResume = func() { resumed <- struct{}{}; panic("boom") }
		p, err := clienttest.Store(t, cluster.Open(t, config), "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a")
		time.Sleep(5 * time.Second)
		cluster.Reconnect("a")
		<-resumed
		until(t, "the session to be held again", p.IsActive)
		for _, handler := range []string{"run OnDoubt", "run OnResume"} {
			until(t, "the report of "+handler, func() bool { return len(log.about("PANICKED", handler)) == 1 })
		}
	})
}

// A session that starts beside Close either belongs to it, and its updates are stored, or does not start.
func TestSessionsThatStartBesideCloseAreSavedOrRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		town.Set(func() {
			town.After = func(string, string, proto.Message) error {
				time.Sleep(time.Duration(rand.N(10)) * time.Millisecond)
				return nil
			}
		})
		updated := make(map[client.Ref]bool)
		for round := range 150 {
			c := town.open(t, town.config(fmt.Sprint("a", round)))
			store := clienttest.Store(t, c, "players", player{})
			var mu sync.Mutex
			var players sync.WaitGroup
			for i := range 5 {
				players.Go(func() {
					time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
					p, err := store.StartSession(t.Context(), fmt.Sprint(round, " ", i))
					if err != nil {
						if !errors.Is(err, client.ErrClosed) && !errors.Is(err, client.ErrUnknown) && !errors.Is(err, client.ErrSessionOver) {
							t.Errorf("start beside Close: %v", err)
						}
						return
					}
					if p.Update(func(d *player) { d.Coins = 7 }) == nil {
						mu.Lock()
						defer mu.Unlock()
						updated[p.Ref()] = true
					}
				})
			}
			time.Sleep(time.Duration(rand.N(20)) * time.Millisecond)
			if err := c.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
			players.Wait()
		}
		time.Sleep(time.Second) // until the last calls that were given up have ended
		for ref := range updated {
			if town.Profile(ref.Store, ref.Key).Revision == 0 {
				t.Errorf("%v: an update was accepted, Close was content, and nothing is stored", ref)
			}
		}
		if len(updated) < 50 {
			t.Errorf("only %d sessions were updated: the test shows little", len(updated))
		}
		for _, owned := range town.Owned() {
			t.Errorf("%s is owned still", owned)
		}
	})
}

// loadingCodec is the JSON codec of a game with data that takes long to decode.
type loadingCodec struct {
	client.JSON
	decoding func()
}

func (c loadingCodec) ID() uint8 { return 16 }

func (c loadingCodec) Decode(data []byte, value any) error {
	c.decoding()
	return c.JSON.Decode(data, value)
}

// A session is refused if its data is still being decoded when Close begins, since Close would not make its last save.
func TestASessionThatIsLoadingWhenCloseBeginsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		c := town.open(t, town.config("a"))
		decoding := func() {}
		store, err := client.NewStore(c, "players", player{}, client.WithCodec(loadingCodec{decoding: func() { decoding() }}))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"ann", "bob"} {
			p, err := store.StartSession(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			_ = p.Update(func(d *player) { d.Coins = 1 })
			if err := p.EndSession(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		bob, err := store.StartSession(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		_ = bob.Update(func(d *player) { d.Coins = 2 })
		town.Set(func() { // bob's last save keeps Close busy
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Save" {
					time.Sleep(time.Second)
				}
				return nil
			}
		})
		closed := make(chan error, 1)
		decoding = func() {
			go func() { closed <- c.Close() }()
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := store.StartSession(t.Context(), "ann"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("start while Close runs: got %v, want ErrClosed", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
		time.Sleep(time.Second) // until the grant has been given back
		if town.ann().Owner != 0 {
			t.Error("ann is still owned")
		}
	})
}
