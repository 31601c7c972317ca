package client_test

import (
	"bytes"
	"errors"
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

// Errors that no call of the game returns are told to OnError, once each and in order, outside of every lock, and are in the
// log though the game named none.
func TestWhatNoCallReturnsIsReported(t *testing.T) {
	var log lockedBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		config := cluster.Config("a")
		config.Autosave = -1
		var mu sync.Mutex
		var told []*client.Error
		running := false
		var p *client.Profile[struct{ Odds float64 }]
		config.OnError = func(err *client.Error) {
			mu.Lock()
			if running {
				t.Error("OnError runs twice at once")
			}
			running = true
			told = append(told, err)
			mu.Unlock()
			p.Read(func(*struct{ Odds float64 }) {})
			time.Sleep(time.Millisecond)
			mu.Lock()
			running = false
			mu.Unlock()
		}
		store := clienttest.Store(t, cluster.Open(t, config), "games", struct{ Odds float64 }{})
		var err error
		if p, err = store.StartSession(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(d *struct{ Odds float64 }) { d.Odds = math.NaN() }); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := p.Save(t.Context()); !errors.Is(err, client.ErrInvalid) {
				t.Fatalf("save: got %v, want ErrInvalid", err)
			}
		}
		cluster.Disconnect("a")
		time.Sleep(5 * time.Second)
		cluster.Reconnect("a")
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 4 || !errors.Is(told[0], client.ErrInvalid) || told[0].Ref.Key != "ann" || !errors.Is(told[1], client.ErrInvalid) ||
			told[2].Code != client.CodeDoubtBegins || told[3].Code != client.CodeDoubtEnds {
			t.Errorf("OnError was told %v, want two failed saves of ann's profile, and that doubt begins and ends", told)
		}
		text := log.String()
		for line, want := range map[string]int{`level=WARN msg="save games/ann`: 2, "DOUBT_BEGINS": 1, "DOUBT_ENDS": 1} {
			if got := strings.Count(text, line); got != want {
				t.Errorf("the log has %q %d times, want %d:\n%s", line, got, want, text)
			}
		}
		if strings.Contains(text, "level=INFO") || strings.Contains(text, "level=DEBUG") {
			t.Errorf("the log has more than warnings:\n%s", text)
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
