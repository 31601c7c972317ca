package server_test

import (
	"strings"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

func (g *game) freeing(key string, token uint64, force bool) *profilev1.ReleaseByOperatorRequest {
	return &profilev1.ReleaseByOperatorRequest{Request: g.next(), Store: "players", Key: key, Token: token, Force: force, Reason: "stuck"}
}

// The owner is asked, then robbed; both are told it again by a renewal, should the event be lost.
func TestReleaseByOperator(t *testing.T) {
	w, node := fake(t, server.Limits{})
	a, b, tool := w.register("a").live(), w.register("b"), w.register("tool")
	held := a.start("p", wait).Header.Token
	a.held = []uint64{held}
	a.renew()
	node.Deafen(true)

	asked, err := w.cluster.ReleaseByOperator(soon(t), tool.freeing("p", held, false))
	if err != nil || asked.Owner.GetName() != "a" || asked.Over || asked.Revoked || asked.Waiters != 0 || asked.Header.Token != held {
		t.Fatalf("asked: %v, %v", asked, err)
	}
	if r, before := a.renew(); r.Differs || len(before) != 1 || !before[0].GetLetGo().GetOperator() || before[0].GetLetGo().GetBy().GetName() != "tool" || before[0].GetLetGo().GetToken() != held {
		t.Errorf("the ask comes again as %v, before %v", before, r)
	}
	page, err := w.cluster.Sessions(soon(t), &profilev1.SessionsRequest{})
	if err != nil || len(page.Sessions) != 1 || !page.Sessions[0].LetGo || !page.Sessions[0].Operator || page.Sessions[0].PendingMs != 2000 {
		t.Errorf("sessions: %v, %v", page, err)
	}

	b.start("p", wait)
	request := tool.freeing("p", held, true)
	for range 2 { // the second is a retry, and is told the same
		robbed, err := w.cluster.ReleaseByOperator(soon(t), request)
		if err != nil || robbed.Owner.GetName() != "a" || robbed.Over || !robbed.Revoked || robbed.Waiters != 1 {
			t.Fatalf("robbed: %v, %v", robbed, err)
		}
	}
	if _, before := a.renew(); len(before) != 1 || before[0].GetLost().GetCause() != profilev1.Cause_CAUSE_RELEASED_BY_OPERATOR || before[0].GetLost().GetBy().GetName() != "tool" {
		t.Errorf("the loss comes as %v", before)
	}
	_, err = a.profiles.Save(soon(t), a.saving("p", held, 0, []byte("late")))
	if r := wantReason(t, err, profilev1.Reason_REASON_FENCED); r.Owner.GetName() != "tool" || r.Cause != profilev1.Cause_CAUSE_RELEASED_BY_OPERATOR {
		t.Errorf("a save of the owner is refused with %v, want that the tool released it", r)
	}
	if done, err := a.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: a.game.next(), Store: "players", Key: "p", Token: held}); err != nil || done.Next.GetName() != "b" {
		t.Fatalf("the release: %v, %v, want b as the next owner", done, err)
	}
	_, err = a.profiles.Save(soon(t), a.saving("p", held, 0, []byte("later")))
	if r := wantReason(t, err, profilev1.Reason_REASON_FENCED); r.Owner.GetName() != "b" {
		t.Errorf("a save after the grant of b is refused with %v, want that b has it", r)
	}
	if got := w.get("p"); got.Owner.GetName() != "b" {
		t.Errorf("after its word it is owned by %v", got.Owner)
	}
	q := &profilev1.AuditRequest{Store: "players", Key: "p", Limit: 1}
	audits, err := w.cluster.Audit(soon(t), q)
	if err != nil || len(audits.Records) != 1 || !audits.More {
		t.Fatalf("the newest audit: %v, %v", audits, err)
	}
	if a := audits.Records[0]; a.Action != "release" || a.By.GetName() != "tool" || a.From.GetName() != "a" || a.Reason != "stuck" || a.Number != 3 || a.Ring != profilev1.AuditRing_AUDIT_RING_GAME_SERVERS || a.StampMs == 0 {
		t.Errorf("the newest audit is %v", a)
	}
	q.Before = audits.Records[0].Number
	if audits, err = w.cluster.Audit(soon(t), q); err != nil || len(audits.Records) != 1 || audits.More || audits.Records[0].Action != "ask" {
		t.Errorf("the one before: %v, %v", audits, err)
	}
	operators := &profilev1.AuditRequest{Ring: profilev1.AuditRing_AUDIT_RING_OPERATORS, Store: "players"}
	if audits, err = w.cluster.Audit(soon(t), operators); err != nil || len(audits.Records) != 0 {
		t.Errorf("of the operators' ring, in which a game server's release is not: %v, %v", audits, err)
	}
	if audits, err = w.cluster.Audit(soon(t), &profilev1.AuditRequest{Store: "guilds"}); err != nil || len(audits.Records) != 0 {
		t.Errorf("of another store: %v, %v", audits, err)
	}
}

// A tool is forgotten soon after its command. The grant keeps its name, until the next grant.
func TestWhoForcedAnEndIsKnownWhenItsToolIsForgotten(t *testing.T) {
	w, node := fake(t, server.Limits{})
	a, tool := w.register("a"), w.register("tool")
	held := a.start("p", wait).Header.Token
	forced := &profilev1.SetRequest{
		Request: tool.next(), Store: "players", Key: "p", AnyRevision: true, Force: true, Codec: 1, Data: a.saving("p", held, 0, []byte("set")).Data,
		Hash: a.saving("p", held, 0, []byte("set")).Hash,
	}
	if _, err := w.profiles.Set(soon(t), forced); err != nil {
		t.Fatal(err)
	}
	if _, err := w.profiles.EndServer(soon(t), &profilev1.EndServerRequest{Request: tool.next()}); err != nil {
		t.Fatal(err)
	}
	node.Log.Do(&fsm.CountMinute{})
	node.Log.Do(&fsm.ForgetEnded{Before: 1, NothingLeftBefore: 1, Limit: 100})
	if servers, err := w.cluster.Servers(soon(t), &profilev1.ServersRequest{}); err != nil || len(servers.Servers) != 1 {
		t.Fatalf("servers: %v, %v, want that the tool is forgotten", servers, err)
	}
	for _, lapsed := range []bool{false, true} {
		if lapsed {
			node.Lapse("players", "p")
		}
		_, err := a.profiles.Save(soon(t), a.saving("p", held, 1, []byte("late")))
		if r := wantReason(t, err, profilev1.Reason_REASON_FENCED); r.Owner.GetName() != "tool" || r.Owner.GetInForce() {
			t.Errorf("lapsed %v: a save is refused with %v, want by the tool", lapsed, r)
		}
		if got := w.get("p"); got.EndedBy.GetName() != "tool" {
			t.Errorf("lapsed %v: the read says %v, want that the tool ended it", lapsed, got)
		}
	}
	if w.register("b").start("p", wait); w.get("p").EndedBy != nil {
		t.Error("the next grant still names the tool")
	}
}

func TestReleaseByOperatorIsRefused(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	a, tool := w.register("a"), w.register("tool")
	held := a.start("p", wait).Header.Token
	_, err := w.cluster.ReleaseByOperator(soon(t), tool.freeing("nothing", 1, true))
	wantReason(t, err, profilev1.Reason_REASON_NO_PROFILE)
	_, err = w.cluster.ReleaseByOperator(soon(t), tool.freeing("p", held+1, true))
	if r := wantReason(t, err, profilev1.Reason_REASON_SUPERSEDED); r.Owner.GetName() != "a" || r.Token != held {
		t.Errorf("another session is refused with %v", r)
	}
	_, err = w.cluster.ReleaseByOperator(soon(t), tool.freeing("p", 0, true))
	wantReason(t, err, profilev1.Reason_REASON_INVALID)
	long := tool.freeing("p", held, true)
	long.Reason = strings.Repeat("x", fsm.MaxReason+1)
	_, err = w.cluster.ReleaseByOperator(soon(t), long)
	wantReason(t, err, profilev1.Reason_REASON_TOO_LARGE)
	if _, err := a.profiles.Release(soon(t), &profilev1.ReleaseRequest{Request: a.next(), Store: "players", Key: "p", Token: held}); err != nil {
		t.Fatal(err)
	}
	_, err = w.cluster.ReleaseByOperator(soon(t), tool.freeing("p", held, true))
	wantReason(t, err, profilev1.Reason_REASON_NOT_OWNED)
}

// The wire's causes are the law's.
func TestCausesAreTheLaws(t *testing.T) {
	for number, name := range profilev1.Cause_name {
		if want := strings.ToLower(strings.TrimPrefix(name, "CAUSE_")); number != 0 && lock.Cause(number).String() != want {
			t.Errorf("%s is %v in the law", name, lock.Cause(number))
		}
	}
	if len(profilev1.Cause_name) != lock.Causes {
		t.Errorf("the wire has %d causes and the law %d", len(profilev1.Cause_name), lock.Causes)
	}
}
