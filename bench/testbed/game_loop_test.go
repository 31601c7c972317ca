package testbed

import (
	"context"
	"fmt"
	"net"
	"net/rpc"
	"testing"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// startLoop runs a game server in this process, with a pipe for stdin and stdout.
func startLoop(t *testing.T, cluster *clienttest.Cluster, name string) *GameServer {
	t.Helper()
	c := cluster.Client(t, name)
	here, there := net.Pipe()
	s := &GameServer{&CalledProcess{&Process{Name: name, Ended: make(chan struct{})}, rpc.NewClient(here)}}
	ended := make(chan error, 1)
	go func() { ended <- runGameLoop(context.Background(), c, there) }()
	t.Cleanup(func() {
		_ = s.calls.Close()
		if err := <-ended; err != nil {
			t.Errorf("game server %s: %v", name, err)
		}
	})
	return s
}

// The orders on a real cluster in memory: hand over, lose a profile while it is saved, receive a message.
func TestGameLoop(t *testing.T) {
	cluster := clienttest.Start(t)
	a, b := startLoop(t, cluster, "a"), startLoop(t, cluster, "b")
	key := []string{"ada"}
	try := func(s *GameServer, o Order) error {
		_, err := s.Do(t.Context(), o)
		return err
	}
	do := func(s *GameServer, o Order) Answer {
		t.Helper()
		all, err := s.Do(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", o.Do, err)
		}
		return all[0]
	}
	checkWriter := func(want string) {
		t.Helper()
		if got := do(b, Order{Do: ReadWriter, Keys: key}).Writer; got != want {
			t.Errorf("it was written by %q, want %q", got, want)
		}
	}

	if started := do(a, Order{Do: StartSession, Keys: key}); started.Ended <= started.Began {
		t.Errorf("it took from %d to %d", started.Began, started.Ended)
	}
	checkWriter("a")
	do(b, Order{Do: StartSession, Keys: key})
	checkWriter("b")
	waitFor(t, "a knows that it has handed over", func() bool { return try(a, Order{Do: ChangeData, Keys: key}) != nil })

	do(b, Order{Do: KeepSaving, Keys: key, Every: time.Millisecond})
	now := measure.Now()
	for _, act := range []Act{WaitForSave, WaitForNewSave} {
		if saved := do(b, Order{Do: act, Keys: key, After: AllAt(key, now)}); saved.Ended <= now {
			t.Errorf("a save after %d was acknowledged at %d", now, saved.Ended)
		}
	}
	stolen := do(a, Order{Do: Steal, Keys: key})
	if late := do(b, Order{Do: ReportSaves, Keys: key, After: AllAt(key, stolen.Ended)}).Saves; late.Landed != 0 {
		t.Errorf("%d saves of the former owner landed", late.Landed)
	}
	if all := do(b, Order{Do: ReportSaves, Keys: key}).Saves; all.Tried <= all.Landed || all.Landed == 0 {
		t.Errorf("of all its saves %d of %d landed, want those before the steal and no other", all.Landed, all.Tried)
	}
	if lost := do(b, Order{Do: ReportSessions}).Sessions; lost != (SessionCounts{Lost: 1}) {
		t.Errorf("the former owner counts %+v", lost)
	}
	do(a, Order{Do: Save, Keys: key})
	checkWriter("a")

	sent := do(b, Order{Do: SendMessage, Keys: key})
	var handled []time.Duration
	waitFor(t, "the message is handled", func() bool {
		handled = do(a, Order{Do: ReportMessages}).Messages
		return len(handled) > 0
	})
	if len(handled) != 1 || handled[0] <= 0 || handled[0] > measure.Now().Since(sent.Began) {
		t.Errorf("one message was sent, handled were %v", handled)
	}
	if again := do(a, Order{Do: ReportMessages}).Messages; len(again) != 0 {
		t.Errorf("it is reported twice: %v", again)
	}

	other := []string{"another"}
	for _, o := range []Order{{Do: "dance"}, {Do: "dance", Keys: key}, {Do: ReportSaves, Keys: other}, {Do: Save, Keys: other}} {
		if try(a, o) == nil {
			t.Errorf("%+v is done", o)
		}
	}
}

func waitFor(t *testing.T, event string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", event)
		}
	}
}

func TestLateSaves(t *testing.T) {
	over := fmt.Errorf("x: %w", client.ErrSessionOver)
	all := []save{
		{began: 1, ended: 2},                                // before
		{began: 3, ended: 30},                               // landed before, its answer read after
		{began: 4, ended: 40, fault: over, refused: true},   // on its way at the takeover
		{began: 11, ended: 41, fault: over, refused: false}, // not even sent
		{began: 12, ended: 42},                              // landed
	}
	if got, want := countLate(10, all), (LateSaves{Tried: 3, Refused: 1, Landed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := countLate(100, all); got != (LateSaves{}) {
		t.Errorf("after everything: got %+v", got)
	}
}
