package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/gossip"
	"github.com/profilenode/profilenode/internal/memnet"
)

// A node whose own gossip name is not known yet says so once and then each minute, and gossips once the name is known, or
// stops while it waits.
func TestGossipWaitsForItsAdvertisedName(t *testing.T) {
	for _, test := range []struct {
		name    string
		knownIn time.Duration
		opens   bool
		lines   int // that say that it waits
	}{
		{"known after a while", 150 * time.Second, true, 3},
		{"never known", time.Hour, false, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Minute) // for a probe of memberlist that outlives its pool
				host := memnet.New().Host("10.0.0.1")
				closing, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				var lines bytes.Buffer
				known := time.Now().Add(test.knownIn)
				var own gossipPool
				err := own.openOrRetry(closing, &running, func() (*gossip.Pool, error) {
					if time.Now().Before(known) {
						return nil, fmt.Errorf("%w n0:7402: no such host", gossip.ErrUnresolved)
					}
					c := gossip.DefaultConfig()
					c.Name, c.Bind, c.Insecure = "n0", "10.0.0.1:7402", true
					c.Listen, c.ListenPacket, c.Dial = host.Listen, host.ListenPacket, host.Dial
					return gossip.Open(c)
				}, slog.New(slog.NewTextHandler(&lines, nil)))
				if err != nil || own.Load() != nil {
					t.Fatalf("open: %v, pool %v, want that it waits", err, own.Load())
				}
				time.Sleep(190 * time.Second)
				synctest.Wait()
				if opened := own.Load() != nil; opened != test.opens {
					t.Errorf("opened: %v, want %v", opened, test.opens)
				}
				stop()
				running.Wait()
				if got := strings.Count(lines.String(), "does not gossip yet"); got != test.lines {
					t.Errorf("%d lines say that it waits, want %d: one at once and one each minute:\n%s", got, test.lines, lines.String())
				}
				own.leave(t.Context(), slog.New(slog.DiscardHandler))
			})
		})
	}
}

// A fault of the configuration does not wait.
func TestGossipThatIsMisconfiguredIsAnError(t *testing.T) {
	fault := errors.New("the port is taken")
	var own gossipPool
	var running sync.WaitGroup
	err := own.openOrRetry(t.Context(), &running, func() (*gossip.Pool, error) { return nil, fault }, slog.New(slog.DiscardHandler))
	if !errors.Is(err, fault) {
		t.Errorf("open: %v, want the fault", err)
	}
	running.Wait()
}
