package server_test

import (
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
)

func listMessages(t *testing.T, w *world, setAside bool) []*profilev1.Message {
	t.Helper()
	page, err := w.profiles.Messages(soon(t), &profilev1.MessagesRequest{Store: "players", Key: "p", SetAside: setAside})
	if err != nil {
		t.Fatal(err)
	}
	return page.Messages
}

// A message whose handler panicked three times is kept and listed with what it panicked with, and no session gets it.
func TestMessageIsSetAsideAfterThreePanics(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g, other := w.register("gs-1"), w.register("gs-2")
		for _, kind := range []string{"poison", "gift"} {
			if _, err := g.profiles.Send(soon(t), &profilev1.SendRequest{Request: g.next(), Store: "players", Key: "p", Body: []byte("{}"), Kind: kind}); err != nil {
				t.Fatal(err)
			}
		}
		for try := 1; try <= 3; try++ {
			opened := g.start("p", wait)
			if n := len(opened.Messages); n != 2 || opened.Messages[0].Kind != "poison" || int(opened.Messages[0].Panics) != try-1 {
				t.Fatalf("session %d brings %v", try, opened.Messages)
			}
			panics := []*profilev1.MessagePanic{{Message: 1, Text: "index out of range"}}
			_, err := other.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: other.next(), Store: "players", Key: "p", Token: opened.Header.Token, Panics: panics})
			wantReason(t, err, profilev1.Reason_REASON_FENCED)
			release := &profilev1.ReleaseRequest{
				Request: g.next(), Store: "players", Key: "p", Token: opened.Header.Token, Cause: profilev1.Cause_CAUSE_PANICKED, Panics: panics,
			}
			for range 2 { // the second is a retry
				if _, err := g.profiles.Release(soon(t), release); err != nil {
					t.Fatal(err)
				}
			}
		}
		if opened := g.start("p", wait); len(opened.Messages) != 1 || opened.Messages[0].Id != 2 {
			t.Errorf("after the third panic a session brings %v", opened.Messages)
		}
		if waiting := listMessages(t, w, false); len(waiting) != 1 || waiting[0].Id != 2 {
			t.Errorf("waiting: %v", waiting)
		}
		all := listMessages(t, w, true)
		if len(all) != 2 || !all[0].SetAside || all[0].Panics != 3 || all[0].PanicText != "index out of range" || all[1].SetAside {
			t.Errorf("all messages: %v", all)
		}
		if got := w.get("p"); got.Messages != 1 || got.SetAside != 1 {
			t.Errorf("%d messages wait and %d are set aside, want 1 and 1", got.Messages, got.SetAside)
		}
		if _, err := other.profiles.ClearMessage(soon(t), &profilev1.ClearMessageRequest{Request: other.next(), Store: "players", Key: "p", Id: 1}); err != nil {
			t.Fatal(err)
		}
		if got := w.get("p"); got.Messages != 1 || got.SetAside != 0 {
			t.Errorf("once it is cleared, %d messages wait and %d are set aside, want 1 and 0", got.Messages, got.SetAside)
		}
	})
}
