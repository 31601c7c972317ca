package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// stream is one game server's, with the set that it believes to hold.
type stream struct {
	*game
	live profilev1.Profiles_LiveClient
	sent uint64
	held []uint64
}

func (g *game) live() *stream {
	g.t.Helper()
	ctx, cancel := context.WithCancel(soon(g.t))
	g.t.Cleanup(cancel)
	live, err := g.profiles.Live(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	return &stream{game: g, live: live}
}

func (s *stream) renewal() *profilev1.Renewal {
	s.sent++
	r := &profilev1.Renewal{Incarnation: s.id, Sequence: s.sent, HeldCount: uint64(len(s.held))}
	for _, token := range s.held {
		r.HeldHash = lock.HeldHash(r.HeldHash, "players", "p", lock.Token(token))
	}
	return r
}

// renew sends a renewal and returns its answer and what came before it.
func (s *stream) renew() (*profilev1.Renewed, []*profilev1.Event) {
	s.t.Helper()
	if err := s.live.Send(s.renewal()); err != nil {
		s.t.Fatal(err)
	}
	var before []*profilev1.Event
	for {
		event := s.next()
		if r := event.GetRenewed(); r != nil && r.Sequence == s.sent {
			return r, before
		}
		before = append(before, event)
	}
}

func (s *stream) next() *profilev1.Event {
	s.t.Helper()
	event, err := s.live.Recv()
	if err != nil {
		s.t.Fatalf("the stream ended: %v", err)
	}
	return event
}

// until receives until an event is what is wanted.
func (s *stream) until(want func(*profilev1.Event) bool) *profilev1.Event {
	s.t.Helper()
	for {
		if event := s.next(); want(event) {
			return event
		}
	}
}

// goodbye receives until the stream ends, which must be with a goodbye.
func (s *stream) goodbye() *profilev1.StreamEnd {
	s.t.Helper()
	var last *profilev1.Event
	for {
		event, err := s.live.Recv()
		if errors.Is(err, io.EOF) {
			if last.GetStreamEnd() == nil {
				s.t.Fatalf("the stream ended after %v, want a goodbye", last)
			}
			return last.GetStreamEnd()
		}
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		last = event
	}
}

// A live owner hands over: the ask comes down its stream, the grant down the other one's.
func TestHandOff(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.register("a").live(), w.register("b").live()
		held := a.start("p", wait).Header.Token
		a.held = []uint64{held}
		for _, s := range []*stream{a, b} {
			if r, _ := s.renew(); r.ConfirmedTerm == 0 || r.Differs || r.Index == 0 || len(r.Nodes) != 1 {
				t.Fatalf("the renewal is answered %v", r)
			}
		}
		ticket := b.start("p", wait).Header.Token
		asked := a.until(func(e *profilev1.Event) bool { return e.GetLetGo() != nil }).GetLetGo()
		if asked.Store != "players" || asked.Key != "p" || asked.Token != held || asked.GetBy().GetName() != "b" {
			t.Errorf("asked for %v", asked)
		}
		last := a.saving("p", held, 0, []byte("mine"))
		last.End = true
		for range 2 { // the second is a retry, and is told the same
			if saved, err := a.profiles.Save(soon(t), last); err != nil || saved.Next.GetName() != "b" || saved.Next.GetIncarnation() != b.id {
				t.Fatalf("the last save: %v, %v, want b as the next owner", saved, err)
			}
		}
		granted := b.until(func(e *profilev1.Event) bool { return e.GetGranted() != nil }).GetGranted()
		if granted.Ticket != ticket || granted.Key != "p" || granted.Token <= ticket {
			t.Errorf("granted %v for ticket %d", granted, ticket)
		}
		b.save("p", granted.Token, 1, []byte("yours"))

		if _, err := a.profiles.Send(soon(t), &profilev1.SendRequest{Request: a.game.next(), Store: "players", Key: "p", Body: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
		if m := b.until(func(e *profilev1.Event) bool { return e.GetMessage() != nil }).GetMessage(); m.Key != "p" || m.Id != 1 {
			t.Errorf("told of message %v", m)
		}
	})
}

// Nothing depends on an event: what was lost shows at the next renewal.
func TestLostEvents(t *testing.T) {
	w, node := fake(t, server.Limits{})
	a, b := w.register("a").live(), w.register("b").live()
	held := a.start("p", wait).Header.Token
	a.held = []uint64{held}
	a.renew()
	b.renew()

	node.Deafen(true)
	ticket := b.start("p", wait).Header.Token
	if r, before := a.renew(); r.Differs || len(before) != 1 || before[0].GetLetGo().GetToken() != held || before[0].GetLetGo().GetBy().GetName() != "b" {
		t.Errorf("the ask comes again as %v, before %v", before, r)
	} else if pending := before[0].GetLetGo().GetPendingMs(); pending != 2000 {
		t.Errorf("the ask has been pending for %d ms, want what the leader says, 2000", pending)
	}
	last := a.saving("p", held, 0, nil)
	last.End = true
	if _, err := a.profiles.Save(soon(t), last); err != nil {
		t.Fatal(err)
	}
	r, _ := b.renew()
	if !r.Differs || len(r.Grants) != 1 || r.Grants[0].Ticket != ticket || r.Grants[0].Key != "p" || r.Grants[0].LetGo {
		t.Fatalf("the grant shows as %v", r)
	}
	b.held = []uint64{r.Grants[0].Token}
	if r, _ := b.renew(); r.Differs {
		t.Errorf("the same set differs: %v", r)
	}
	b.held[0]++
	if r, _ := b.renew(); !r.Differs {
		t.Errorf("another token of as many does not differ: %v", r)
	}
	b.held[0]--
	if r, _ := a.renew(); !r.Differs || len(r.Grants) != 0 {
		t.Errorf("the old owner is answered %v", r)
	}

	// A revocation comes before the answer that would otherwise let the owner go on.
	a.start("p", steal)
	if r, before := b.renew(); !r.Differs || len(r.Grants) != 0 || len(before) != 1 || before[0].GetLost().GetToken() != b.held[0] {
		t.Errorf("the loss comes as %v before %v", before, r)
	} else if by := before[0].GetLost().GetBy(); by.GetName() != "a" || !by.GetInForce() {
		t.Errorf("it was lost to %v, want a", by)
	}
}

// A stream that begins finds the messages that were told to none.
func TestMailOfANewStream(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	for range 40 {
		if _, err := g.profiles.Send(soon(t), &profilev1.SendRequest{Request: g.next(), Store: "players", Key: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	s := g.live()
	s.held = []uint64{token}
	s.renew()
	if m := s.next().GetMessage(); m.GetKey() != "p" || m.GetId() != 40 {
		t.Errorf("the first answer is followed by %v, want message 40", m)
	}
	if _, before := s.renew(); len(before) != 0 {
		t.Errorf("told again of %v", before)
	}
}

// More events than a mailbox holds are made up for, too.
func TestFullInbox(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	token := g.start("p", wait).Header.Token
	s := g.live()
	s.held = []uint64{token}
	s.renew()
	flood := make([]fsm.Event, 100_000)
	for i := range flood {
		flood[i] = fsm.Event{Kind: fsm.LetGo, Server: lock.Incarnation(g.id), Store: "players", Key: fmt.Sprint(i)}
	}
	node.Hub.Publish(flood) // must not wait, though nobody receives
	node.Deafen(true)
	if _, err := g.profiles.Send(soon(t), &profilev1.SendRequest{Request: g.next(), Store: "players", Key: "p"}); err != nil {
		t.Fatal(err)
	}
	if err := s.live.Send(s.renewal()); err != nil {
		t.Fatal(err)
	}
	s.until(func(e *profilev1.Event) bool { return e.GetMessage().GetKey() == "p" })
}

// Only a proof renews.
func TestUnconfirmedRenewal(t *testing.T) {
	w, node := fake(t, server.Limits{})
	s := w.register("gs-1").live()
	s.renew()
	node.Confirm = func(context.Context) error { return cluster.ErrUnconfirmed }
	if r, _ := s.renew(); r.ConfirmedTerm != 0 {
		t.Errorf("an unconfirmed renewal is answered %v", r)
	}
	_, err := w.profiles.Renew(soon(t), s.renewal())
	wantReason(t, err, profilev1.Reason_REASON_UNCONFIRMED)
	_, err = w.profiles.Get(soon(t), &profilev1.GetRequest{Store: "players", Key: "p"})
	wantReason(t, err, profilev1.Reason_REASON_UNCONFIRMED)
	node.Confirm = nil
	if r, _ := s.renew(); r.ConfirmedTerm == 0 {
		t.Errorf("a confirmed one is answered %v", r)
	}
}

// While a proof takes its time, events still come.
func TestEventsPassASlowProof(t *testing.T) {
	w, node := fake(t, server.Limits{})
	a, b := w.register("a").live(), w.register("b")
	held := a.start("p", wait).Header.Token
	a.held = []uint64{held}
	a.renew()
	slow := make(chan struct{})
	began := make(chan struct{}, 8)
	node.Confirm = func(context.Context) error {
		began <- struct{}{}
		<-slow
		return nil
	}
	if err := a.live.Send(a.renewal()); err != nil {
		t.Fatal(err)
	}
	<-began
	b.start("p", wait)
	if e := a.next(); e.GetLetGo().GetToken() != held {
		t.Errorf("while the proof runs comes %v, want the ask", e)
	}
	close(slow)
	a.until(func(e *profilev1.Event) bool { return e.GetRenewed().GetConfirmedTerm() != 0 })
}

func TestRenewWithoutStream(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("tool")
		token := g.start("p", wait).Header.Token
		r, err := w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: g.id, Sequence: 7})
		if err != nil || r.Sequence != 7 || r.ConfirmedTerm == 0 || !r.Differs || len(r.Grants) != 1 || r.Grants[0].Token != token {
			t.Errorf("answered %v, %v", r, err)
		}
		_, err = w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: 12345})
		wantReason(t, err, profilev1.Reason_REASON_SERVER_GONE)
	})
}

// One stream for an incarnation: the newer one has it.
func TestNewerStream(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		older := g.live()
		older.renew()
		newer := g.live()
		newer.renew()
		if bye := older.goodbye(); bye.ServerGone || bye.Leader != "" {
			t.Errorf("the older stream is told %v", bye)
		}
		g.start("p", wait)
		other := w.register("other")
		other.start("p", wait)
		newer.until(func(e *profilev1.Event) bool { return e.GetLetGo() != nil })
	})
}

func TestGoodbyeOfTheGone(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		s := g.live()
		s.renew()
		if _, err := g.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: g.next()}); err != nil {
			t.Fatal(err)
		}
		if bye := s.goodbye(); !bye.ServerGone {
			t.Errorf("told %v", bye)
		}
		for _, id := range []uint64{g.id, 424242} {
			again := (&game{world: w, id: id}).live()
			if err := again.live.Send(again.renewal()); err != nil {
				t.Fatal(err)
			}
			if bye := again.goodbye(); !bye.ServerGone {
				t.Errorf("incarnation %d is told %v", id, bye)
			}
		}
	})
}

// A follower sends streams to the leader, and does not say of what its tables lack that it is gone.
func TestStreamAtAFollower(t *testing.T) {
	w, node := fake(t, server.Limits{})
	open := w.register("gs-1").live()
	open.renew()
	node.Lead("10.0.0.2:7400")
	if bye := open.goodbye(); bye.ServerGone || bye.Leader != "10.0.0.2:7400" {
		t.Errorf("the open stream is told %v", bye)
	}
	late := (&game{world: w, id: 999 << 16}).live()
	if err := late.live.Send(late.renewal()); err != nil {
		t.Fatal(err)
	}
	if bye := late.goodbye(); bye.ServerGone || bye.Leader != "10.0.0.2:7400" {
		t.Errorf("a new stream is told %v", bye)
	}
}

func TestStreamOfTwo(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	s := w.register("gs-1").live()
	s.renew()
	s.id++
	if err := s.live.Send(s.renewal()); err != nil {
		t.Fatal(err)
	}
	_, err := s.live.Recv()
	wantReason(t, err, profilev1.Reason_REASON_INVALID)

	nobody := (&game{world: w}).live()
	if err := nobody.live.Send(&profilev1.Renewal{}); err != nil {
		t.Fatal(err)
	}
	_, err = nobody.live.Recv()
	wantReason(t, err, profilev1.Reason_REASON_INVALID)
}

// A caller that sends no first renewal does not stay.
func TestSilentStream(t *testing.T) {
	hub := server.NewHub()
	w := serve(t, server.NewOn(newFake(t, hub), server.Config{Hub: hub, Limits: server.Limits{Renewal: 60 * time.Millisecond}}), fakeCluster)
	s := (&game{world: w}).live()
	_, err := s.live.Recv()
	wantReason(t, err, profilev1.Reason_REASON_INVALID)
}

// The first renewal after a reconnect says where messages wait. It reads none of them: ten profiles with 90 MB would hold
// up the answer, and with it the game server's lease.
func TestTheFirstRenewalReadsNoMessage(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	body := make([]byte, 60_000)
	held := map[string]uint64{}
	for i := range 10 {
		key := fmt.Sprint("p", i)
		held[key] = g.start(key, wait).Header.Token
		for range 150 {
			q := g.next()
			if _, err := node.Propose(soon(t), fsm.NewCommand(&fsm.Request{
				Incarnation: q.Incarnation, Number: q.Number, Settled: q.Number - 1, Hash: q.Hash, Registration: q.Registration,
			}, &fsm.Send{Store: "players", Key: key, Body: body})); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := g.live().renewal()
	r.Sequence, r.HeldCount = 1, uint64(len(held))
	for key, token := range held {
		r.HeldHash = lock.HeldHash(r.HeldHash, "players", key, lock.Token(token))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	renewed, err := w.profiles.Renew(soon(t), r)
	runtime.ReadMemStats(&after)
	if err != nil || renewed.ConfirmedTerm == 0 || renewed.Differs || len(renewed.Events) != 10 {
		t.Fatalf("answered %v, %v", renewed, err)
	}
	for _, event := range renewed.Events {
		if m := event.GetMessage(); m.GetId() != 150 || m.GetMessage() != nil {
			t.Errorf("told of %v, want message 150 without its body", event)
		}
	}
	if read := after.TotalAlloc - before.TotalAlloc; read > 16<<20 {
		t.Errorf("the renewal took %d bytes: it reads bodies", read)
	}
}

// More grants than fit into one answer come in pages, all at the index at which the comparison began.
func TestGrantsComeInPagesOfOneIndex(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	const many = 2500
	propose := func(act any) {
		t.Helper()
		q := g.next()
		if _, err := node.Propose(soon(t), fsm.NewCommand(&fsm.Request{
			Incarnation: q.Incarnation, Number: q.Number, Settled: q.Number - 1, Hash: q.Hash, Registration: q.Registration,
		}, act)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		propose(&fsm.StartSession{Store: "players", Key: fmt.Sprintf("p%04d", i)})
	}
	renew := func(page *profilev1.Page) *profilev1.Renewed {
		t.Helper()
		r := (&stream{game: g}).renewal()
		r.Page = page
		renewed, err := w.profiles.Renew(soon(t), r)
		if err != nil || !renewed.Differs || renewed.ConfirmedTerm == 0 {
			t.Fatalf("answered %v, %v", renewed, err)
		}
		return renewed
	}
	first := renew(nil)
	index := first.Comparison
	propose(&fsm.StartSession{Store: "players", Key: "p9999"}) // after the comparison began
	keys := map[string]bool{}
	pages := 0
	for page := first; ; page = renew(page.Last) {
		pages++
		if page.Comparison != index {
			t.Fatalf("page %d is of comparison %d, the first of %d", pages, page.Comparison, index)
		}
		for _, grant := range page.Grants {
			if keys[grant.Key] {
				t.Errorf("%s is listed twice", grant.Key)
			}
			keys[grant.Key] = true
		}
		if page.Last == nil {
			break
		}
	}
	if len(keys) != many || pages != 3 || keys["p9999"] {
		t.Errorf("%d pages list %d grants, want 3 with %d and without the later one", pages, len(keys), many)
	}
	// Once its tables are gone the comparison begins anew.
	if again := renew(&profilev1.Page{Comparison: index, AfterStore: "players", AfterKey: "p0999"}); again.Comparison == index || again.Grants[0].Key != "p0000" {
		t.Errorf("a comparison that is over goes on at %s with %d", again.Grants[0].Key, again.Comparison)
	}
}

// A lapse rests on it that no confirmed answer is without what was revoked: an answer that cannot hold it confirms nothing.
func TestRenewWithoutAStreamTellsAllThatWasRevokedOrConfirmsNothing(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g, thief := w.register("gs-1"), w.register("gs-2")
	propose := func(by *game, act any) {
		t.Helper()
		q := by.next()
		if _, err := node.Propose(soon(t), fsm.NewCommand(&fsm.Request{
			Incarnation: q.Incarnation, Number: q.Number, Settled: q.Number - 1, Hash: q.Hash, Registration: q.Registration,
		}, act)); err != nil {
			t.Fatal(err)
		}
	}
	key := func(i int) string { return fmt.Sprintf("%0250d", i) }
	steals := func(from, to int) {
		for i := from; i < to; i++ {
			propose(g, &fsm.StartSession{Store: "players", Key: key(i)})
			propose(thief, &fsm.StartSession{Store: "players", Key: key(i), WhenOwned: uint32(lock.Steal)})
		}
	}
	renew := func() *profilev1.Renewed {
		t.Helper()
		renewed, err := w.profiles.Renew(soon(t), (&stream{game: g}).renewal())
		if err != nil {
			t.Fatal(err)
		}
		return renewed
	}
	steals(0, 100)
	r := renew()
	told := map[string]bool{}
	for _, event := range r.Events {
		told[event.GetLost().GetKey()] = true
	}
	if r.ConfirmedTerm == 0 || len(told) != 100 {
		t.Fatalf("the answer in term %d tells of %d losses, want a confirmed one with 100", r.ConfirmedTerm, len(told))
	}
	steals(100, 4500) // more than a MiB of names
	if r := renew(); r.ConfirmedTerm != 0 {
		t.Errorf("an answer with %d of 4500 losses confirms in term %d", len(r.Events), r.ConfirmedTerm)
	}
}
