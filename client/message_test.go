package client_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

type gift struct{ Coins int }

func take(d *player, m client.Message) client.Answer {
	var g gift
	if m.Decode(&g) != nil {
		return client.AnswerNotMine
	}
	d.Coins += g.Coins
	return client.AnswerDone
}

func coins(p *client.Profile[player]) (n int) {
	p.Read(func(d *player) { n = d.Coins })
	return n
}

func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		a := clienttest.Store(t, cluster.Client(t, "a"), "players", player{})
		b := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
		if _, err := b.Send(ctx, "ann", gift{1}); err != nil {
			t.Fatal(err)
		}
		p, err := a.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		p.OnMessage(take)
		if got := coins(p); got != 1 {
			t.Errorf("a message that waited: got %d coins, want 1", got)
		}
		if _, err := b.Send(ctx, "ann", gift{10}); err != nil {
			t.Fatal(err)
		}
		until(t, "the message that came later", func() bool { return coins(p) == 11 })
		until(t, "both to be cleared by a save", func() bool {
			got, err := b.Get(ctx, "ann")
			return err == nil && got.Messages == 0 && got.Data.Coins == 11
		})
	})
}

func TestMessageWaitsForItsHandler(t *testing.T) {
	cluster := clienttest.Start(t)
	ctx := t.Context()
	store := clienttest.Store(t, cluster.Client(t, "a"), "players", player{})
	for _, m := range []any{gift{1}, []byte("not json"), gift{2}} {
		if _, err := store.Send(ctx, "ann", m); err != nil {
			t.Fatal(err)
		}
	}
	p, err := store.StartSession(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	p.OnMessage(take)
	var left []string
	p.OnMessage(func(_ *player, m client.Message) client.Answer {
		left = append(left, string(m.Body)+" from "+m.Sender)
		return client.AnswerNotMine
	})
	if want := []string{"not json from a"}; !slices.Equal(left, want) || coins(p) != 3 {
		t.Errorf("a handler that was added later: got %v, want %v", left, want)
	}
	if err := p.EndSession(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(ctx, "ann"); err != nil || got.Messages != 1 {
		t.Errorf("waiting afterwards: got %+v, %v, want the one that no handler took", got, err)
	}
}

// A message is applied once, whatever becomes of the saves that were to carry it.
func TestMessageIsAppliedOnceThroughFailingSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p := playing(t, "n1:7400", "n2:7400")
		var mu sync.Mutex
		handled := map[uint64]int{}
		p.OnMessage(func(d *player, m client.Message) client.Answer {
			mu.Lock()
			handled[m.ID]++
			mu.Unlock()
			return take(d, m)
		})
		saves := 0
		town.Set(func() {
			town.After = func(_, method string, _ proto.Message) error {
				if method != "Save" {
					return nil
				}
				saves++
				switch saves % 3 {
				case 1:
					return errLost // it was carried out
				case 2:
					return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN})
				}
				return nil
			}
		})
		for range 5 {
			if _, err := store.Send(t.Context(), "ann", gift{1}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		until(t, "every message to be cleared", func() bool {
			got, err := store.Get(t.Context(), "ann")
			return err == nil && got.Messages == 0
		})
		if err := p.EndSession(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := store.Get(t.Context(), "ann")
		if err != nil || got.Data.Coins != 5 {
			t.Errorf("stored: got %+v, %v, want 5 coins", got, err)
		}
		for id, n := range handled {
			if n != 1 {
				t.Errorf("message %d was handled %d times", id, n)
			}
		}
	})
}

// A save that cleared a message is the last that names it.
func TestMarksGoWithOneSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
		if _, err := store.Send(t.Context(), "ann", gift{1}); err != nil {
			t.Fatal(err)
		}
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		p.OnMessage(take)
		for range 2 {
			if err := p.Update(func(d *player) { d.Coins++ }); err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := town.Count("Save"); got != 2 {
			t.Errorf("saves: got %d, want 2, none of them refused", got)
		}
	})
}

// A handled message that another request cleared meanwhile must not keep the data from being saved.
func TestClearedMessageDoesNotBlockSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
		if _, err := store.Send(t.Context(), "ann", gift{1}); err != nil {
			t.Fatal(err)
		}
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		town.Clear("players", "ann")
		p.OnMessage(take)
		if err := p.Save(t.Context()); err != nil {
			t.Errorf("save: %v", err)
		}
		if err := p.EndSession(t.Context()); err != nil {
			t.Errorf("end: %v", err)
		}
	})
}

// A message is there for the next owner if its effect was not stored.
func TestMessageOfALostSessionIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		ctx := t.Context()
		a := clienttest.Store(t, cluster.Client(t, "a"), "players", player{})
		b := clienttest.Store(t, cluster.Client(t, "b"), "players", player{})
		p, err := a.StartSession(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a")
		if _, err := b.Send(ctx, "ann", gift{7}); err != nil {
			t.Fatal(err)
		}
		p.OnMessage(take)
		q, err := b.StartSession(ctx, "ann") // once the silence of a is enough
		if err != nil {
			t.Fatal(err)
		}
		if p.IsActive() {
			t.Error("the old owner is active beside the new one")
		}
		q.OnMessage(take)
		until(t, "the message", func() bool { return coins(q) == 7 })
		cluster.Reconnect("a")
		<-p.Done()
		if err := p.Err(); !errors.Is(err, client.ErrSessionOver) {
			t.Errorf("the old session: got %v, want ErrSessionOver", err)
		}
	})
}

// A message that comes along with its event is taken over at once, and only if none was missed before it. One that was
// pushed to an earlier session of the profile may have been handled there and cleared: it is given to no handler any more.
func TestPushedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400", "n2:7400")
		p.OnMessage(take)
		push := func(id, after uint64, older bool) {
			row := town.ann()
			if older {
				row.Token--
			}
			town.TellMessage("players", "ann", row, id, after, `{"Coins":10}`)
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		push(5, 0, true)
		if got := coins(p); got != 0 {
			t.Errorf("pushed to an earlier session: got %d coins, want 0", got)
		}
		push(5, 4, false)
		if got := coins(p); got != 0 {
			t.Errorf("pushed behind one that was never seen: got %d coins, want 0", got)
		}
		push(5, 0, false)
		push(5, 0, false)
		push(6, 5, false)
		if got := coins(p); got != 20 {
			t.Errorf("two pushed, one of them twice: got %d coins, want 20", got)
		}
	})
}
