package main

import (
	"strings"
	"testing"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

func TestRelease(t *testing.T) {
	s := serveOne(t)
	game := openClient(t, s.clients)

	t.Run("Asked", func(t *testing.T) {
		profile := startSession(t, game, "alice")
		if err := profile.Update(func(s *score) { s.N = 5 }); err != nil { // not saved before it is asked
			t.Fatal(err)
		}
		s.ask(t, "", "release", store, "alice", "--wait", "--reason", "stuck").want(t, exitOK,
			"asked "+game.Name(), " to let go of games/alice: it saves and ends, or is revoked after 10s", "its session is over after ", "at revision 1")
		within(t, "the owner has let go", profile.Done())
		if err := profile.Err(); err != nil {
			t.Errorf("its session ended with %v", err)
		}
		s.ask(t, "", "get", store, "alice").want(t, exitOK, `{"n":5}`)
		s.ask(t, "", "release", store, "alice").want(t, exitFailed, "no game server owns games/alice", "there is no session to end")
	})

	t.Run("Forced", func(t *testing.T) {
		profile := startSession(t, game, "bob")
		if err := profile.Update(func(s *score) { s.N = 5 }); err != nil {
			t.Fatal(err)
		}
		heir := openClient(t, s.clients)
		hold := make(chan struct{})
		profile.OnLastSave(func(*score, client.LastSaveReason) { <-hold }) // or the waiting one would be served at once
		defer close(hold)
		waits := make(chan error, 1)
		go func() {
			_, err := clienttest.Store(t, heir, store, score{}).StartSession(t.Context(), "bob", client.IfOwnedWait)
			waits <- err
		}()
		for got := (asked{}); !strings.Contains(got.out, "asked to let go"); {
			got = s.ask(t, "", "sessions", store)
		}
		var done releasedJSON
		decode(t, s.ask(t, "", "release", store, "bob", "--force", "--wait", "--json"), &done)
		if !done.Forced || !done.Over || done.Owner.Name != game.Name() || done.Waiting > 1 || done.TookMS == nil || *done.TookMS > 3000 {
			t.Errorf("got %+v of %+v", done, done.Owner)
		}
		if err := <-waits; err != nil {
			t.Error(err)
		}
		within(t, "the owner is told", profile.Done())
		if err := profile.Err(); err == nil || !strings.Contains(err.Error(), "released by an operator") {
			t.Errorf("its session ended with %v", err)
		}
	})

	t.Run("NoSuchSession", func(t *testing.T) {
		s.ask(t, "", "release", "nowhere", "nobody").want(t, exitFailed, "there is nothing at nowhere/nobody", "profilenode list nowhere")
		s.ask(t, "", "release", store, "x/\x01").want(t, exitFailed, "control characters")
		s.ask(t, "", "release", store).want(t, exitUsage, "release takes STORE KEY, not 1 arguments")
		startSession(t, game, "eve")
		s.ask(t, "", "release", store, "eve", "--reason", strings.Repeat("x", 300)).want(t, exitFailed, "300 bytes and may have 256")
	})
	t.Run("Audit", func(t *testing.T) {
		s.ask(t, "", "policy", store, "max-waiters=4").want(t, exitOK)
		startSession(t, game, "carol")
		s.ask(t, `{"n":7}`, "set", store, "carol", "-", "--force").want(t, exitOK)
		got := s.ask(t, "", "audit")
		got.want(t, exitOK, "ask", "stuck", "release", "set", game.Name(), "tool-", "@", "carol")
		t.Log("\n" + got.out)
		if lines := strings.Split(strings.TrimSpace(got.out), "\n"); !strings.Contains(lines[len(lines)-1], "carol") {
			t.Errorf("the newest is not last:\n%s", got.out)
		}
		var audit auditJSON
		decode(t, s.ask(t, "", "audit", "--store", store, "--key", "alice", "--since", "1h", "--json"), &audit)
		if audit.Action != "ask" || audit.Reason != "stuck" || audit.From.Name != game.Name() || !strings.HasPrefix(audit.By.Name, "tool-") || audit.Number == 0 {
			t.Errorf("got %+v", audit)
		}
		if got := s.ask(t, "", "audit", "--limit", "1", "--json"); strings.Count(got.out, "\n") != 1 || !strings.Contains(got.out, "carol") {
			t.Errorf("the newest one is\n%s", got.out)
		}
		if got := s.ask(t, "", "audit", "--by", "operators"); !strings.Contains(got.out, "carol") || !strings.Contains(got.out, "policy") {
			t.Errorf("the operators' ring has\n%s", got.out)
		}
		if got := s.ask(t, "", "audit", "--by", "servers"); strings.Contains(got.out, "carol") {
			t.Errorf("the game servers' ring has what an operator did:\n%s", got.out)
		}
		s.ask(t, "", "audit", "--by", "somebody").want(t, exitUsage, "--by is operators or servers")
		s.ask(t, "", "audit", "--store", "a/b").want(t, exitFailed, "a store's name is made of")
	})
}
