package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// startGameServer runs a game server beside the test; wait returns its output once it has ended without an error.
func startGameServer(ctx context.Context, t *testing.T, config client.Config) (wait func() string) {
	t.Helper()
	config.Autosave = time.Second
	var out safeBuffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, config, 8, &out) }()
	return func() string {
		t.Helper()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", config.Name, err)
		}
		return out.String()
	}
}

func TestTwoGameServersShareTheirPlayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		waitOne := startGameServer(ctx, t, cluster.Config("one"))
		waitTwo := startGameServer(ctx, t, cluster.Config("two"))
		for _, out := range []string{waitOne(), waitTwo()} {
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if lines[len(lines)-1] != "All sessions have ended, and everything is saved." {
				t.Errorf("it ended with %q", lines[len(lines)-1])
			}
			status := lines[len(lines)-2]
			if !strings.Contains(status, "sessions 0 ") || !strings.Contains(status, " 0 lost unsaved") {
				t.Errorf("sessions are left or lost: %s", status)
			}
			if strings.Contains(status, " 0 handed off") || strings.HasSuffix(status, "gifts 0") {
				t.Errorf("no player moved, or no gift was received: %s", status)
			}
		}
	})
}

func TestPlayGoesOnThroughDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wait := startGameServer(ctx, t, cluster.Config("cut"))
		time.Sleep(20 * time.Second)
		cluster.Disconnect("cut")
		time.Sleep(6 * time.Second)
		cluster.Reconnect("cut")
		out := wait()
		before, after, inDoubt := strings.Cut(out, "in doubt: ")
		during, resumed, held := strings.Cut(after, "held again\n")
		if !inDoubt || !held || !strings.Contains(during, "  in doubt  sessions ") {
			t.Errorf("cut off it was in doubt: %v, and held again: %v; meanwhile it printed\n%s", inDoubt, held, during)
		}
		for name, part := range map[string]string{"before the cut": before, "after it": resumed} {
			if !strings.Contains(part, "  held  sessions ") {
				t.Errorf("%s its sessions were not held:\n%s", name, part)
			}
		}
		if !strings.HasSuffix(strings.TrimSpace(out), "everything is saved.") || strings.Count(out, " 0 lost unsaved)") != strings.Count(out, " lost unsaved)") {
			t.Errorf("it ended with\n%s", resumed)
		}
	})
}

// safeBuffer is written by handlers and the status at once.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
