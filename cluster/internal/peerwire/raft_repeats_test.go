package peerwire

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A node that is away fills no log: what raft says of it several times a second is logged once, and then once a minute with
// how often it was left out.
func TestANodeThatIsAwayIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := NewRaftLogger(slog.New(slog.NewTextHandler(&out, nil)))
		away := errors.New("connection refused")
		const span, pause = 10 * time.Minute, 100 * time.Millisecond
		for range span / pause {
			for _, peer := range []string{"n2", "n3"} {
				log.Error("failed to appendEntries to", "peer", raft.Server{ID: raft.ServerID(peer)}, "error", away)
				log.Named("snapshot").Error("failed to heartbeat to", "peer", peer, "backoff time", pause)
			}
			log.Warn("Election timeout reached, restarting election")
			log.Info("entering candidate state", "node", "n1", "term", 7)
			time.Sleep(pause)
		}
		log.Info("entering follower state", "leader-id", "n2")
		log.Info("entering follower state", "leader-id", "n3")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if want := 6*10 + 2; len(lines) != want {
			t.Errorf("%d lines, want %d: six messages once a minute, and each event with a code", len(lines), want)
		}
		if strings.Contains(lines[0], "left out") || !strings.Contains(lines[len(lines)-3], `"left out since"=599`) {
			t.Errorf("the first line: %s\nthe last before the events: %s", lines[0], lines[len(lines)-3])
		}
	})
}
