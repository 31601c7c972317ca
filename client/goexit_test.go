package client_test

import (
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// A handler that ends its goroutine, as a test's FailNow does, takes nothing else of the client with it: the handlers behind
// it are called, now and for later events, saves go on, Close returns, and the report says how the handler ended.
func TestHandlerThatEndsItsGoroutineEndsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		log := &noted{}
		config := cluster.Config("a")
		config.Autosave = time.Second
		config.Log = slog.New(log)
		var errorsTold atomic.Int32
		config.OnError = func(*client.Error) { errorsTold.Add(1); runtime.Goexit() }
		c := cluster.Open(t, config)
		store := clienttest.Store(t, c, "players", player{})
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		var saved, ended atomic.Int32
		p.OnAfterSave(func(client.Saved) { runtime.Goexit() })
		p.OnAfterSave(func(client.Saved) { saved.Add(1) })
		p.OnSessionEnd(func(client.End) { runtime.Goexit() })
		p.OnSessionEnd(func(client.End) { ended.Add(1) })
		for range 2 {
			if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if saved.Load() != 2 {
			t.Errorf("the second handler was told of %d saves, want 2", saved.Load())
		}
		if errorsTold.Load() != 2 {
			t.Errorf("OnError was told of %d handlers that ended their goroutines, want 2", errorsTold.Load())
		}
		if text := strings.Join(log.about("PANICKED", "players/ann"), "\n"); !strings.Contains(text, "runtime.Goexit") {
			t.Errorf("the report does not say that the handler ended its goroutine: %q", text)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if ended.Load() != 1 {
			t.Errorf("the second handler of the session's end was called %d times, want once", ended.Load())
		}
	})
}

// OnSave and the codec have the data, so the session is over; the call that saves it does not hang.
func TestSaveHandlerThatEndsItsGoroutineEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, p := playing(t, "n1:7400")
		p.OnSave(func(*player) { runtime.Goexit() })
		if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
			t.Fatal(err)
		}
		if err := p.Save(t.Context()); err == nil || !strings.Contains(err.Error(), "runtime.Goexit") {
			t.Errorf("save: got %v, want that the handler ended its goroutine", err)
		}
		<-p.Done()
		if _, err := store.StartSession(t.Context(), "ann"); err != nil {
			t.Errorf("start it again: %v", err)
		}
	})
}
