package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/client"
)

// An operator finds a message that makes every game server's handler panic, reads why, and clears it.
func TestMessagesListsWhatWasSetAsideAndClears(t *testing.T) {
	s := serveOne(t)
	s.ask(t, "", "send", store, "dave", `{"coins":1}`, "--kind", "gift").want(t, exitOK, "message 1")
	s.ask(t, "", "send", store, "dave", `{"coins":2}`).want(t, exitOK, "message 2")
	game := openClient(t, s.clients)
	for range 3 {
		profile := startSession(t, game, "dave")
		profile.OnMessage(func(_ *score, m client.Message) client.Answer {
			if m.Kind == "gift" {
				panic("no such item\x1b[2J")
			}
			return client.AnswerNotMine
		})
		within(t, "the session ends", profile.Done())
	}
	startSession(t, game, "dave") // waits until the third panic is counted

	listed := s.ask(t, "", "messages", store, "dave")
	listed.want(t, exitOK, "KIND", "PANICS", "gift", "set aside", "no such item?[2J", "waiting", "tool-")
	if strings.ContainsRune(listed.out, 0x1b) {
		t.Errorf("the text of a panic steers the terminal: %q", listed.out)
	}
	var rows []messageJSON
	for line := range strings.Lines(s.ask(t, "", "messages", store, "dave", "--json").out) {
		var row messageJSON
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		rows = append(rows, row)
	}
	if len(rows) != 2 || rows[0].State != "set aside" || rows[0].Panics != 3 || rows[0].Kind != "gift" || rows[0].Size != 11 ||
		rows[0].Text != "no such item\x1b[2J" || string(rows[0].Body) != `{"coins":1}` || rows[1].ID != "2" || rows[1].State != "waiting" {
		t.Errorf("as JSON: %+v", rows)
	}

	s.ask(t, "", "messages", "clear", store, "dave", "1").want(t, exitOK, "cleared message 1 of games/dave")
	s.ask(t, "", "messages", "clear", store, "dave", "1").want(t, exitFailed, "message")
	s.ask(t, "", "messages", "clear", store, "dave", "first").want(t, exitUsage, `"first" is not the id of a message`)
	if got := s.ask(t, "", "messages", store, "dave"); strings.Contains(got.out, "set aside") {
		t.Errorf("it is still there:\n%s", got.out)
	}
}

// Messages to a key that was never saved, a misspelt one, are found and cleared: list does not show such keys.
func TestMessagesToAProfileThatWasNeverSavedAreFound(t *testing.T) {
	s := serveOne(t)
	s.ask(t, "", "send", store, "alise", `{"coins":1}`).want(t, exitOK, "message 1")
	s.ask(t, "", "send", store, "alise", `{"coins":22}`).want(t, exitOK, "message 2")
	s.ask(t, `{"coins":7}`, "set", store, "bob", "-").want(t, exitOK)
	s.ask(t, "", "send", store, "bob", `{"coins":3}`).want(t, exitOK, "message 1")

	s.ask(t, "", "messages", store).want(t, exitOK, "KEY", "alise", "never saved", "bob", "saved")
	only := s.ask(t, "", "messages", store, "--never-saved", "--json")
	only.want(t, exitOK)
	var box inboxJSON
	if err := json.Unmarshal([]byte(only.out), &box); err != nil || box != (inboxJSON{store, "alise", 2, 0, 23, "never saved"}) {
		t.Errorf("the profiles with messages that were never saved: %+v, %v, in %s", box, err, only.out)
	}
	s.ask(t, "", "messages", store, "alise", "--never-saved").want(t, exitUsage, "leave the key out")
	s.ask(t, "", "messages", "clear", store, "alise").want(t, exitUsage, "STORE KEY --all")
	s.ask(t, "", "messages", "clear", store, "alise", "--all").want(t, exitOK, "cleared message 1", "cleared message 2")
	if left := s.ask(t, "", "messages", store); strings.Contains(left.out, "alise") || !strings.Contains(left.out, "bob") {
		t.Errorf("after clear --all:\n%s", left.out)
	}
}
