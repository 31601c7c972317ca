package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/profilenode/profilenode/client/clienttest"
)

// played is a game server in this process, spoken to over pipes as over stdin and stdout.
type played struct {
	orders *json.Encoder
	told   *json.Decoder
	last   uint64
}

func playGame(t *testing.T, cluster *clienttest.Cluster, name string) *played {
	t.Helper()
	c := cluster.Client(t, name)
	in, orders := io.Pipe()
	told, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serveGame(context.Background(), c, new(atomic.Int64), in, out) }()
	t.Cleanup(func() {
		_ = told.Close() // what is on its way is not read
		_ = orders.Close()
		if err := <-ended; err != nil {
			t.Errorf("game server %s: %v", name, err)
		}
	})
	p := &played{orders: json.NewEncoder(orders), told: json.NewDecoder(bufio.NewReader(told))}
	p.hear(t) // ready
	return p
}

func (p *played) hear(t *testing.T) (answer botAnswer) {
	t.Helper()
	if err := p.told.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// do gives an order about one profile, or none, and returns its answer.
func (p *played) do(t *testing.T, o botOrder) botAnswer {
	t.Helper()
	p.last++
	o.ID = p.last
	if err := p.orders.Encode(o); err != nil {
		t.Fatal(err)
	}
	answer := p.hear(t)
	if answer.ID != o.ID {
		t.Fatalf("%s: the answer is to order %d, want %d", o.Do, answer.ID, o.ID)
	}
	return answer
}

func (p *played) must(t *testing.T, o botOrder) botAnswer {
	t.Helper()
	answer := p.do(t, o)
	if answer.Fault != "" {
		t.Fatalf("%s: %s", o.Do, answer.Fault)
	}
	return answer
}

// What the benchmark asks of its game servers, on a real cluster in memory: hand over, be robbed while scribbling, and
// hear a message.
func TestGameServer(t *testing.T) {
	cluster := clienttest.Start(t)
	a, b := playGame(t, cluster, "a"), playGame(t, cluster, "b")
	key := []string{"ada"}

	started := a.must(t, botOrder{Do: doStart, Keys: key})
	if started.Ended <= started.Began {
		t.Errorf("it took from %d to %d", started.Began, started.Ended)
	}
	if got := b.must(t, botOrder{Do: doRead, Keys: key}).Who; got != "a" {
		t.Errorf("a has started it, and it was written by %q", got)
	}

	b.must(t, botOrder{Do: doStart, Keys: key})
	if got := b.must(t, botOrder{Do: doRead, Keys: key}).Who; got != "b" {
		t.Errorf("b has it, and it was written by %q", got)
	}
	waitFor(t, "a knows that it has handed over", func() bool { return a.do(t, botOrder{Do: doTouch, Keys: key}).Fault != "" })

	b.must(t, botOrder{Do: doScribble, Keys: key, Every: time.Millisecond})
	now := monotonicNow()
	saved := b.must(t, botOrder{Do: doSaved, Keys: key, After: map[string]monotonicTime{"ada": now}})
	if saved.Ended <= now {
		t.Errorf("a save after %d was acknowledged at %d", now, saved.Ended)
	}
	robbed := a.must(t, botOrder{Do: doStart, Keys: key, Steal: true})
	tried := b.must(t, botOrder{Do: doTries, Keys: key, After: map[string]monotonicTime{"ada": robbed.Ended}})
	if tried.Tries.Landed != 0 {
		t.Errorf("of the robbed owner's tries %d landed", tried.Tries.Landed)
	}
	if all := b.must(t, botOrder{Do: doTries, Keys: key}).Tries; all.Tried <= all.Landed || all.Landed == 0 {
		t.Errorf("of all its tries %d of %d landed, want those before it was robbed and no other", all.Landed, all.Tried)
	}
	a.must(t, botOrder{Do: doSave, Keys: key})
	if got := a.must(t, botOrder{Do: doRead, Keys: key}).Who; got != "a" {
		t.Errorf("a has it again, and it was written by %q", got)
	}

	sent := b.must(t, botOrder{Do: doSend, Keys: key})
	var heard []time.Duration
	waitFor(t, "the message is handled", func() bool {
		heard = a.must(t, botOrder{Do: doHeard}).Heard
		return len(heard) > 0
	})
	if len(heard) != 1 || heard[0] <= 0 || heard[0] > monotonicNow().since(sent.Began) {
		t.Errorf("one message was sent, handled were %v", heard)
	}
	if again := a.must(t, botOrder{Do: doHeard}).Heard; len(again) != 0 {
		t.Errorf("it is told twice: %v", again)
	}

	for _, o := range []botOrder{{Do: "dance"}, {Do: "dance", Keys: key}, {Do: doTries, Keys: []string{"nobody"}}, {Do: doSave, Keys: []string{"nobody"}}} {
		if a.do(t, o).Fault == "" {
			t.Errorf("%+v is done", o)
		}
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}
