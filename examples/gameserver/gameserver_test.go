package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// seconds is a View that remembers.
type seconds struct {
	mu   sync.Mutex
	seen []Second
}

func (s *seconds) Show(second Second) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, second)
}

func (s *seconds) last() Second {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[len(s.seen)-1]
}

func testOptions(cluster *clienttest.Cluster, name string) options {
	o := options{client: cluster.Config(name), players: 8, verify: true}
	o.client.Autosave = time.Second
	return o
}

// start runs a game server beside the test; the function that it returns waits for its end.
func start(t *testing.T, ctx context.Context, o options) (view *seconds, wait func() string) {
	t.Helper()
	view = &seconds{}
	done := make(chan struct{})
	var out strings.Builder
	var good bool
	var err error
	go func() {
		defer close(done)
		good, err = run(ctx, o, view, &out)
	}()
	return view, func() string {
		t.Helper()
		<-done
		if err != nil || !good {
			t.Fatalf("%s: got good %v, error %v:\n%s", o.client.Name, good, err, out.String())
		}
		return out.String()
	}
}

func TestTwoGameServersShareTheirPlayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		one, waitOne := start(t, ctx, testOptions(cluster, "one"))
		two, waitTwo := start(t, ctx, testOptions(cluster, "two"))
		for _, out := range []string{waitOne(), waitTwo()} {
			if !strings.Contains(out, "Nothing stayed unsaved.") || !strings.Contains(out, " profiles read back, 0 differ") {
				t.Errorf("got\n%s", out)
			}
		}
		a, b := one.last().Total, two.last().Total
		t.Logf("one %+v\ntwo %+v", a, b)
		if a.Moved+b.Moved == 0 || a.GiftsHandled+b.GiftsHandled == 0 {
			t.Errorf("moved %d, gifts handled %d; want some of each", a.Moved+b.Moved, a.GiftsHandled+b.GiftsHandled)
		}
		if a.GiftsTwice+b.GiftsTwice+len(a.Errors)+len(b.Errors) > 0 {
			t.Errorf("gifts that came twice %d, errors %v %v; want none", a.GiftsTwice+b.GiftsTwice, a.Errors, b.Errors)
		}
		for _, c := range []Counts{a, b} {
			if c.Saves == 0 || c.Over != c.Sessions {
				t.Errorf("%d saves, %d sessions, %d over; want saves, and every session over", c.Saves, c.Sessions, c.Over)
			}
		}
	})
}

func TestPlayGoesOnThroughDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		view, wait := start(t, ctx, testOptions(cluster, "cut"))
		time.Sleep(20 * time.Second)
		cluster.Disconnect("cut")
		time.Sleep(6 * time.Second)
		during := view.last()
		cluster.Reconnect("cut")
		time.Sleep(6 * time.Second)
		after := view.last()
		wait()
		if during.InDoubt == 0 || during.Held > 0 || during.Gap < 5 {
			t.Errorf("cut off: got %d held, %d in doubt, gap %v s; want all in doubt, 5 s", during.Held, during.InDoubt, during.Gap)
		}
		if after.Held == 0 || after.InDoubt > 0 || after.Total.Lost > 0 {
			t.Errorf("back again: got %d held, %d in doubt, %d lost; want all held", after.Held, after.InDoubt, after.Total.Lost)
		}
	})
}

func TestReplayEndToEnd(t *testing.T) {
	dir := t.TempDir()
	for player := range 3 {
		for version := range 5 {
			data, err := json.MarshalIndent(map[string]any{"player": player, "version": version, "big": uint64(1)<<63 + 1}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, fmt.Sprintf("made/player-%03d/%04d.json", player, version+1), string(data))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o := testOptions(cluster, "replay")
		o.profiles = dir
		view, wait := start(t, ctx, o)
		if out := wait(); !strings.Contains(out, " profiles read back, 0 differ") {
			t.Errorf("got\n%s", out)
		}
		if got := view.last().Total.Saves; got < 100 {
			t.Errorf("saves: got %d, want 100 and more", got)
		}
	})
}

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	players, _ := NewPlayers("test", 1)
	history := History{Name: "h", Versions: []json.RawMessage{[]byte(`1`), []byte(`2`)}}
	replay, _ := NewReplay([]History{history}, 1)

	sound := NewPlayer("ann")
	sound.Step = 7
	torn := sound
	torn.Coins++
	for _, c := range []struct {
		name string
		data Player
		at   uint64
		want acked
		good bool
	}{
		{"as acknowledged", sound, 3, acked{revision: 3, mark: 7, marked: 3}, true},
		{"saved since", sound, 9, acked{revision: 3, mark: 5, marked: 3}, true},
		{"older revision", sound, 3, acked{revision: 4, mark: 7, marked: 3}, false},
		{"older step", sound, 9, acked{revision: 3, mark: 8, marked: 3}, false},
		{"not balanced", torn, 3, acked{revision: 3, mark: 7, marked: 3}, false},
	} {
		got := &client.Snapshot[Player]{Info: client.Info{Exists: true, Revision: c.at}, Data: c.data}
		if fault := compare(players, "ann", got, c.want); (fault == nil) != c.good {
			t.Errorf("player %s: got %v, want good %v", c.name, fault, c.good)
		}
	}
	for _, c := range []struct {
		name string
		data string
		at   uint64
		good bool
	}{
		{"as acknowledged", `2`, 3, true},
		{"saved since", `1`, 4, true},
		{"other bytes", `1`, 3, false},
		{"no version", `2 `, 4, false},
	} {
		got := &client.Snapshot[json.RawMessage]{Info: client.Info{Exists: true, Revision: c.at}, Data: json.RawMessage(c.data)}
		if fault := compare(replay, "h/0000", got, acked{revision: 3, mark: 1, marked: 3}); (fault == nil) != c.good {
			t.Errorf("replay %s: got %v, want good %v", c.name, fault, c.good)
		}
	}
	if compare(players, "ann", &client.Snapshot[Player]{}, acked{revision: 1}) == nil {
		t.Error("a profile that is gone: got no fault")
	}
}
