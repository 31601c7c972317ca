package server_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
)

const (
	wait  = profilev1.WhenOwned_WHEN_OWNED_WAIT
	no    = profilev1.WhenOwned_WHEN_OWNED_REFUSE
	steal = profilev1.WhenOwned_WHEN_OWNED_STEAL
)

// One session from the registration to the goodbye, and what every reply stands on.
func TestOneSession(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		opened := g.start("p", wait)
		if opened.Queued || opened.Profile.GetExists() || opened.LoadCount != 1 || opened.Header.Token == 0 || opened.Header.Number != 1 {
			t.Fatalf("a fresh profile opens as %v", opened)
		}
		token := opened.Header.Token
		request := g.saving("p", token, 0, []byte("one"))
		request.Tags = map[string]string{"class": "mage"}
		saved, err := g.profiles.Save(soon(t), request)
		if err != nil {
			t.Fatal(err)
		}
		if saved.Header.Revision != 1 || saved.Header.Token != token || saved.Header.Number != 2 || saved.Header.Index <= opened.Header.Index {
			t.Errorf("the save stands on %v", saved.Header)
		}
		got := w.get("p")
		if string(got.Profile.GetData()) != "one" || got.Profile.GetRevision() != 1 || got.Profile.GetTags()["class"] != "mage" || got.Profile.GetCodec() != 1 {
			t.Errorf("the profile is %v", got.Profile)
		}
		if got.Owner.GetName() != "gs-1" || got.Owner.GetWhere() != "rack of gs-1" || !got.Owner.GetInForce() || got.LoadCount != 1 {
			t.Errorf("the owner is %v after %d loads", got.Owner, got.LoadCount)
		}
		if got.Header.Revision != 1 || got.Header.Token != token || got.Header.Index < saved.Header.Index {
			t.Errorf("the read stands on %v", got.Header)
		}

		last := g.saving("p", token, 1, []byte("two"))
		last.End, last.KeepTags = true, true
		if _, err := g.profiles.Save(soon(t), last); err != nil {
			t.Fatal(err)
		}
		if got = w.get("p"); got.Owner != nil || string(got.Profile.GetData()) != "two" || got.Profile.GetTags()["class"] != "mage" {
			t.Errorf("after the last save: %v", got)
		}
		again := g.start("p", wait)
		if string(again.Profile.GetData()) != "two" || again.Header.Revision != 2 || again.LoadCount != 2 || again.Header.Token <= token {
			t.Errorf("the next session opens as %v", again)
		}
		if _, err := g.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: g.next()}); err != nil {
			t.Fatal(err)
		}
		if got = w.get("p"); got.Owner.GetInForce() {
			t.Errorf("after the goodbye the profile is owned by %v", got.Owner)
		}
		_, err = g.profiles.StartSession(soon(t), &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "q"})
		wantReason(t, err, profilev1.Reason_REASON_SERVER_GONE)
	})
}

func TestRegisterAgain(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		request := &profilev1.RegisterRequest{Name: "gs-1", Nonce: bytes.Repeat([]byte{1}, 16), Where: "here", Ping: "10.0.0.1:9"}
		first, err := w.profiles.Register(soon(t), request)
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.profiles.Register(soon(t), request)
		if err != nil || again.Incarnation != first.Incarnation || !again.Header.Repeated || first.Header.Repeated {
			t.Errorf("the same nonce gives %v, %v after %v", again, err, first)
		}
		if len(first.Cluster) == 0 || first.Epoch == 0 || first.Timing.GetRenewMs() != 1000 || first.Timing.GetLeaseMs() != 10_000 {
			t.Errorf("the registration is %v", first)
		}
		limits := first.GetLimits().ProtoReflect()
		for i := range limits.Descriptor().Fields().Len() {
			if field := limits.Descriptor().Fields().Get(i); !limits.Has(field) {
				t.Errorf("the registration does not tell the limit %s", field.Name())
			}
		}
		request.Nonce = bytes.Repeat([]byte{2}, 16)
		_, err = w.profiles.Register(soon(t), request)
		if r := wantReason(t, err, profilev1.Reason_REASON_NAME_HELD); r.Owner.GetIncarnation() != first.Incarnation || r.Owner.GetWhere() != "here" {
			t.Errorf("the name is held by %v", r.Owner)
		}
		request.Name, request.Cluster = "gs-2", bytes.Repeat([]byte{9}, 16)
		_, err = w.profiles.Register(soon(t), request)
		wantReason(t, err, profilev1.Reason_REASON_OTHER_CLUSTER)
	})
}

// A retry is answered and not repeated, and the same number for something else ends the incarnation.
func TestRetries(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		start := &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "p"}
		first, err := g.profiles.StartSession(soon(t), start)
		if err != nil {
			t.Fatal(err)
		}
		again, err := g.profiles.StartSession(soon(t), start)
		if err != nil || !again.Header.Repeated || again.Header.Token != first.Header.Token || again.Profile == nil || again.LoadCount != 1 {
			t.Fatalf("the retried start is %v, %v", again, err)
		}
		save := g.saving("p", first.Header.Token, 0, []byte("one"))
		done, err := g.profiles.Save(soon(t), save)
		if err != nil {
			t.Fatal(err)
		}
		repeated, err := g.profiles.Save(soon(t), save)
		if err != nil || !repeated.Header.Repeated || repeated.Header.Revision != 1 || repeated.Header.Index != done.Header.Index {
			t.Errorf("the retried save is %v, %v; the first was %v", repeated, err, done)
		}
		settled, err := g.profiles.Settle(soon(t), &profilev1.SettleRequest{Request: save.Request})
		if err != nil || settled.Reason != profilev1.Reason_REASON_UNSPECIFIED || settled.Header.Revision != 1 {
			t.Errorf("a number that was done settles as %v, %v", settled, err)
		}
		givenUp, err := g.profiles.Settle(soon(t), &profilev1.SettleRequest{Request: g.next()})
		if err != nil || givenUp.Reason != profilev1.Reason_REASON_GIVEN_UP {
			t.Errorf("a number that was never used settles as %v, %v", givenUp, err)
		}

		// A session that is over is not handed out by a retry.
		if _, err := g.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: g.next(), Store: "players", Key: "p", Token: first.Header.Token}); err != nil {
			t.Fatal(err)
		}
		_, err = g.profiles.StartSession(soon(t), start)
		if r := wantReason(t, err, profilev1.Reason_REASON_FENCED); r.Token != first.Header.Token {
			t.Errorf("the retry of a session that is over names token %d", r.Token)
		}

		other := proto.CloneOf(save)
		other.Request.Hash++
		_, err = g.profiles.Save(soon(t), other)
		wantReason(t, err, profilev1.Reason_REASON_CLONED)
		_, err = g.profiles.Save(soon(t), g.saving("p", first.Header.Token, 1, nil))
		wantReason(t, err, profilev1.Reason_REASON_SERVER_GONE)
		// What it had done before is still answered.
		if repeated, err = g.profiles.Save(soon(t), save); err != nil || !repeated.Header.Repeated {
			t.Errorf("a retry after the end is %v, %v", repeated, err)
		}
	})
}

func TestQueue(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.register("a"), w.register("b")
		held := a.start("p", wait)
		ask := &profilev1.StartSessionRequest{Request: b.next(), Store: "players", Key: "p"}
		queued, err := b.profiles.StartSession(soon(t), ask)
		if err != nil {
			t.Fatal(err)
		}
		if !queued.Queued || queued.Place != 1 || queued.Owner.GetName() != "a" || queued.Profile != nil || queued.Header.Token == held.Header.Token {
			t.Fatalf("the second asker is answered %v", queued)
		}
		_, err = b.profiles.StartSession(soon(t), &profilev1.StartSessionRequest{Request: b.next(), Store: "players", Key: "p", WhenOwned: no})
		if r := wantReason(t, err, profilev1.Reason_REASON_OWNED); r.Owner.GetName() != "a" {
			t.Errorf("owned by %v", r.Owner)
		}
		_, err = b.profiles.Save(soon(t), b.saving("p", queued.Header.Token, 0, nil))
		wantReason(t, err, profilev1.Reason_REASON_FENCED)

		last := a.saving("p", held.Header.Token, 0, []byte("handed over"))
		last.End = true
		if _, err := a.profiles.Save(soon(t), last); err != nil {
			t.Fatal(err)
		}
		again, err := b.profiles.StartSession(soon(t), ask)
		if err != nil || !again.Queued || !again.Header.Repeated || again.Header.Token != queued.Header.Token {
			t.Errorf("the ticket's retry is %v, %v", again, err)
		}
		got := w.get("p")
		if got.Owner.GetName() != "b" || string(got.Profile.GetData()) != "handed over" {
			t.Errorf("after the release: %v", got)
		}
		if _, err := b.profiles.Cancel(soon(t), &profilev1.CancelRequest{Request: b.next(), Store: "players", Key: "p", Ticket: queued.Header.Token}); err != nil {
			t.Errorf("give back by the ticket: %v", err)
		}
		if got = w.get("p"); got.Owner != nil {
			t.Errorf("after the cancel it is owned by %v", got.Owner)
		}
	})
}

// An answer that was applied but cannot be read is unknown: the caller must not believe that nothing happened.
func TestAppliedButUnread(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	blind := &blindNode{fakeNode: node}
	w = serve(t, server.NewOn(blind, server.Config{}), fakeCluster)
	start := &profilev1.StartSessionRequest{Request: g.next(), Store: "players", Key: "p"}
	_, err := w.profiles.StartSession(soon(t), start)
	wantReason(t, err, profilev1.Reason_REASON_UNKNOWN)
	blind.sees.Store(true)
	if again, err := w.profiles.StartSession(soon(t), start); err != nil || again.Profile == nil || !again.Header.Repeated {
		t.Errorf("the retry is %v, %v", again, err)
	}
}

func TestMessages(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g := w.register("gs-1")
		for i := range 40 {
			body := bytes.Repeat([]byte{byte(i)}, fsm.MaxMessage)
			sent, err := g.profiles.Send(soon(t), &profilev1.SendRequest{Request: g.next(), Store: "players", Key: "p", Body: body})
			if err != nil || sent.Id != uint64(i+1) {
				t.Fatalf("message %d: %v, %v", i, sent, err)
			}
		}
		opened := g.start("p", wait)
		size := 0
		for _, m := range opened.Messages {
			size += len(m.Body)
		}
		if n := len(opened.Messages); n == 0 || n >= 40 || size > 512<<10 || opened.Messages[0].Sender != "gs-1" {
			t.Errorf("the session brings %d messages of %d bytes", n, size)
		}
		after, read := uint64(0), 0
		for {
			page, err := w.profiles.Messages(soon(t), &profilev1.MessagesRequest{Store: "players", Key: "p", After: after})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Messages) == 0 {
				break
			}
			for _, m := range page.Messages {
				if m.Id != after+1 || !bytes.Equal(m.Body, bytes.Repeat([]byte{byte(after)}, fsm.MaxMessage)) {
					t.Fatalf("message %d comes after %d", m.Id, after)
				}
				after = m.Id
				read++
			}
		}
		if read != 40 {
			t.Errorf("read %d messages, want 40", read)
		}

		save := g.saving("p", opened.Header.Token, 0, []byte("one"))
		save.ClearMessages = []uint64{1}
		if _, err := g.profiles.Save(soon(t), save); err != nil {
			t.Fatal(err)
		}
		_, err := g.profiles.ClearMessage(soon(t), &profilev1.ClearMessageRequest{Request: g.next(), Store: "players", Key: "p", Id: 1})
		wantReason(t, err, profilev1.Reason_REASON_NO_MESSAGE)
		if _, err = g.profiles.ClearMessage(soon(t), &profilev1.ClearMessageRequest{Request: g.next(), Store: "players", Key: "p", Id: 2}); err != nil {
			t.Error(err)
		}
		if got := w.get("p"); got.Messages != 38 {
			t.Errorf("%d messages wait, want 38", got.Messages)
		}
	})
}

func TestSetAndRemove(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		g, tool := w.register("gs-1"), w.register("tool")
		hash := sha256.Sum256([]byte("set"))
		set := func(expected uint64, force bool) (*profilev1.SetResponse, error) {
			return tool.profiles.Set(soon(t), &profilev1.SetRequest{
				Request: tool.next(), Store: "players", Key: "p", Expected: expected, Data: []byte("set"), Hash: hash[:], Force: force,
			})
		}
		if done, err := set(0, false); err != nil || done.Header.Revision != 1 {
			t.Fatalf("set: %v, %v", done, err)
		}
		_, err := set(0, false)
		if r := wantReason(t, err, profilev1.Reason_REASON_REVISION_DIFFERS); r.Revision != 1 {
			t.Errorf("refused at revision %d", r.Revision)
		}
		// Whatever its revision is; and a revision beside that is a contradiction.
		anyRevision := func(expected uint64) (*profilev1.SetResponse, error) {
			return tool.profiles.Set(soon(t), &profilev1.SetRequest{
				Request: tool.next(), Store: "players", Key: "any", Expected: expected, AnyRevision: true, Data: []byte("set"), Hash: hash[:],
			})
		}
		for revision := range uint64(2) {
			if done, err := anyRevision(0); err != nil || done.Header.Revision != revision+1 {
				t.Fatalf("set at any revision: %v, %v, want revision %d", done, err, revision+1)
			}
		}
		_, err = anyRevision(2)
		wantReason(t, err, profilev1.Reason_REASON_INVALID)
		held := g.start("p", wait)
		if string(held.Profile.GetData()) != "set" {
			t.Errorf("opens as %v", held.Profile)
		}
		_, err = set(1, false)
		wantReason(t, err, profilev1.Reason_REASON_OWNED)
		if _, err = set(1, true); err != nil {
			t.Fatal(err)
		}
		_, err = g.profiles.Save(soon(t), g.saving("p", held.Header.Token, 2, nil))
		wantReason(t, err, profilev1.Reason_REASON_FENCED)
		if _, err = g.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: g.next(), Store: "players", Key: "p", Token: held.Header.Token}); err != nil {
			t.Fatal(err)
		}
		removed, err := tool.profiles.Remove(soon(t), &profilev1.RemoveRequest{Request: tool.next(), Store: "players", Key: "p", Expected: 2})
		if err != nil || removed.Header.Revision != 3 {
			t.Fatalf("remove: %v, %v", removed, err)
		}
		if got := w.get("p"); got.Profile.GetExists() || got.Profile.GetRevision() != 3 || len(got.Profile.GetData()) != 0 {
			t.Errorf("what was removed is read as %v", got.Profile)
		}
		_, err = tool.profiles.Remove(soon(t), &profilev1.RemoveRequest{Request: tool.next(), Store: "players", Key: "p", Expected: 3})
		wantReason(t, err, profilev1.Reason_REASON_NO_PROFILE)
		_, err = tool.profiles.Remove(soon(t), &profilev1.RemoveRequest{Request: tool.next(), Store: "players", Key: "any", Expected: 2, AnyRevision: true})
		wantReason(t, err, profilev1.Reason_REASON_INVALID)
		removed, err = tool.profiles.Remove(soon(t), &profilev1.RemoveRequest{Request: tool.next(), Store: "players", Key: "any", AnyRevision: true})
		if err != nil || removed.Header.Revision != 3 {
			t.Fatalf("remove at any revision: %v, %v", removed, err)
		}
	})
}

// A game server that starts again has one place, under its new ticket: the Cancel of the old one, which may be under way, is
// answered "not waiting", and the grant is for the new one.
func TestAGameServerThatStartsAgainHasOnePlaceUnderItsNewTicket(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.register("a"), w.register("b")
		token := a.start("p", wait).Header.Token
		first, second := b.start("p", wait), b.start("p", wait)
		if !first.Queued || !second.Queued || second.Place != 1 || second.Header.Token == first.Header.Token {
			t.Fatalf("it waits as %v, then as %v: want one place, under another ticket", first, second)
		}
		_, err := b.profiles.Cancel(soon(t), &profilev1.CancelRequest{Request: b.next(), Store: "players", Key: "p", Ticket: first.Header.Token})
		wantReason(t, err, profilev1.Reason_REASON_NOT_WAITING)
		if _, err := a.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: a.next(), Store: "players", Key: "p", Token: token}); err != nil {
			t.Fatal(err)
		}
		if got := w.get("p"); got.Owner.GetName() != "b" || got.Waiters != 0 {
			t.Errorf("after the release it is owned by %v, and %d wait: want b, and none", got.Owner, got.Waiters)
		}
		if _, err := b.profiles.Cancel(soon(t), &profilev1.CancelRequest{Request: b.next(), Store: "players", Key: "p", Ticket: second.Header.Token}); err != nil {
			t.Errorf("the grant is not for the new ticket: %v", err)
		}
	})
}

// A profile with messages is removed only by a request that asks to drop them, and the audit says how many went.
func TestRemoveIsRefusedWhileMessagesWait(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		a, b := w.register("a"), w.register("b")
		token := a.start("p", wait).Header.Token
		last := a.saving("p", token, 0, []byte("one"))
		last.End = true
		if _, err := a.profiles.Save(soon(t), last); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := b.profiles.Send(soon(t), &profilev1.SendRequest{Request: b.next(), Store: "players", Key: "p", Body: []byte("a gift")}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := b.profiles.Remove(soon(t), &profilev1.RemoveRequest{Request: b.next(), Store: "players", Key: "p", Expected: 1})
		if r := wantReason(t, err, profilev1.Reason_REASON_MESSAGES_WAIT); r.Limit != 2 || r.Revision != 1 {
			t.Errorf("the refusal says %v, want that 2 wait at revision 1", r)
		}
		if got := w.get("p"); !got.Profile.GetExists() || got.Messages != 2 {
			t.Errorf("after the refusal it is %v, with %d messages", got.Profile, got.Messages)
		}
		drop := &profilev1.RemoveRequest{Request: b.next(), Store: "players", Key: "p", Expected: 1, DropMessages: true}
		if _, err = b.profiles.Remove(soon(t), drop); err != nil {
			t.Fatal(err)
		}
		if got := w.get("p"); got.Profile.GetExists() || got.Messages != 0 {
			t.Errorf("after the removal it is %v, with %d messages", got.Profile, got.Messages)
		}
		audits, err := w.cluster.Audit(soon(t), &profilev1.AuditRequest{Store: "players", Key: "p"})
		if err != nil || len(audits.Records) != 1 || audits.Records[0].Action != "remove" || audits.Records[0].Dropped != 2 {
			t.Errorf("the audit is %v, %v", audits, err)
		}
	})
}
