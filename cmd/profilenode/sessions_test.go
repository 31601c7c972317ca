package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// until asks until the answer has each part in it.
func (s *served) until(t *testing.T, args []string, parts ...string) asked {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		got := s.ask(t, "", args...)
		missing := ""
		for _, part := range parts {
			if !strings.Contains(got.out, part) {
				missing = part
			}
		}
		if missing == "" {
			return got
		}
		if time.Since(began) > 15*time.Second {
			t.Fatalf("got\n%s%s\nwant %q in it", got.out, got.errs, missing)
		}
	}
}

// Whoever waits is listed below the session, and for how long.
func TestSessionsShowTheQueue(t *testing.T) {
	s := serveOne(t)
	game, heir := openClient(t, s.clients), openClient(t, s.clients)
	profile := startSession(t, game, "alice")
	stuck := make(chan struct{})
	profile.OnLastSave(func(*score, client.LastSaveReason) { <-stuck })
	waits := make(chan error, 1)
	go func() {
		_, err := clienttest.Store(t, heir, store, score{}).StartSession(t.Context(), "alice", client.IfOwnedWait)
		waits <- err
	}()
	s.until(t, []string{"sessions"}, game.Name(), "asked to let go for ", "1. "+heir.Name(), "waits for ", " ago")
	s.until(t, []string{"sessions", store, "--json"}, `"let_go":true`, `"pending_ms":`, `"waits_ms":`, `"silent_ms":`, `"operator":false`)
	s.ask(t, "", "release", store, "alice").want(t, exitOK, "asked "+game.Name(), "1 waiting: the first of them gets it")
	t.Log("\n" + s.until(t, []string{"sessions"}, "asked by an operator to let go for ").out)
	var session sessionJSON
	if err := json.Unmarshal([]byte(s.ask(t, "", "sessions", "--json").out), &session); err != nil {
		t.Fatal(err)
	}
	if len(session.Waiters) != 1 || session.Waiters[0].Name != heir.Name() || session.Waiters[0].WaitsMS <= 0 || !session.Operator || session.Revoked {
		t.Errorf("got %+v", session)
	}
	t.Log("\n" + s.until(t, []string{"servers"}, game.Name(), heir.Name(), "alive", "WANTED").out)
	s.ask(t, "", "release", store, "alice", "--force").want(t, exitOK, "took games/alice from "+game.Name())
	if err := <-waits; err != nil {
		t.Fatal(err)
	}
	close(stuck)
	s.until(t, []string{"sessions"}, heir.Name(), "in force")

	if err := game.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.ask(t, "", "servers"); strings.Contains(got.out, game.Name()) {
		t.Errorf("one that is gone is listed unasked:\n%s", got.out)
	}
	t.Log("\n" + s.until(t, []string{"servers", "--gone"}, game.Name(), "gone by goodbye").out)
	if got := s.ask(t, "", "servers", "--gone"); strings.Contains(got.out, "tool-") {
		t.Errorf("tools are listed unasked:\n%s", got.out)
	}
}
