package fsm_test

import (
	"testing"

	"github.com/profilenode/profilenode/fsm"
)

// countDays counts the minutes of days.
func (h *heavy) countDays(days int) {
	h.t.Helper()
	minutes := make([]*fsm.Command, 1440)
	for i := range minutes {
		minutes[i] = fsm.NewCommand(nil, &fsm.CountMinute{})
	}
	for range days {
		h.apply(minutes...)
	}
}

func (h *heavy) view() *fsm.View { return read(h.m.View())(h.t) }

// dropDue carries out DropDue until nothing more is due.
func (h *heavy) dropDue() {
	h.t.Helper()
	for h.apply(fsm.NewCommand(nil, &fsm.DropDue{Limit: 1}))[0].More {
	}
}

// The earlier revisions of a removed profile are kept for the days of the policy, then its tombstone is left. One that was written
// again keeps its history.
func TestARemovedProfileKeepsItsRevisionsForSomeDays(t *testing.T) {
	h := newHeavy(t)
	defer func() { must(t, h.m.Close()) }()
	tool := h.server("tool")
	h.apply(h.ask(tool, &fsm.SetPolicy{Name: fsm.PolicyRemovedDays, Value: 2}))
	for _, key := range []string{"gone", "back"} {
		for range 3 {
			h.apply(h.ask(tool, &fsm.Set{Store: "players", Key: key, AnyRevision: true, Data: data("v1")}))
		}
		h.apply(h.ask(tool, &fsm.Remove{Store: "players", Key: key, AnyRevision: true}))
	}
	h.apply(h.ask(tool, &fsm.Set{Store: "players", Key: "back", AnyRevision: true, Data: data("v2")}))
	kept := func(key string) int {
		view := h.view()
		defer func() { must(t, view.Close()) }()
		return len(read(view.History("players", key))(t))
	}
	h.countDays(1)
	h.dropDue()
	if gone, back := kept("gone"), kept("back"); gone != 4 || back != 5 {
		t.Errorf("after a day of two, %d and %d revisions are kept, want 4 and 5", gone, back)
	}
	h.countDays(1)
	h.dropDue()
	if gone, back := kept("gone"), kept("back"); gone != 1 || back != 5 {
		t.Errorf("after two days of two, %d and %d revisions are kept, want the tombstone and 5", gone, back)
	}
	view := h.view()
	p, ok, err := view.Profile("players", "gone")
	if err != nil || !ok || p.Exists || p.Revision != 4 {
		t.Errorf("the tombstone is %+v, %v, %v", p, ok, err)
	}
	must(t, view.Close())
	checkTables(t, h.m)
}

// A message to a profile that was never saved is dropped after the days of the policy, and the audit says so; not while somebody has
// a session there, and not once it was saved. Without the policy it stays.
func TestUnclaimedMessagesAreDroppedAfterSomeDays(t *testing.T) {
	h := newHeavy(t)
	defer func() { must(t, h.m.Close()) }()
	tool, owner := h.server("tool"), h.server("owner")
	send := func(key string) { h.apply(h.ask(tool, &fsm.Send{Store: "players", Key: key, Body: []byte("gift")})) }
	waiting := func(key string) uint64 {
		view := h.view()
		defer func() { must(t, view.Close()) }()
		return read(view.Inbox("players", key))(t).Waiting
	}
	send("before the policy")
	h.apply(h.ask(tool, &fsm.SetPolicy{Name: fsm.PolicyUnclaimedMessageDays, Value: 1}))
	for _, key := range []string{"never", "owned", "saved"} {
		send(key)
		send(key)
	}
	h.apply(h.ask(owner, &fsm.StartSession{Store: "players", Key: "owned"}))
	h.apply(h.ask(tool, &fsm.Set{Store: "players", Key: "saved", AnyRevision: true, Data: data("v1")}))
	h.countDays(1)
	h.dropDue()
	for key, want := range map[string]uint64{"before the policy": 1, "never": 0, "owned": 2, "saved": 2} {
		if got := waiting(key); got != want {
			t.Errorf("after a day %d messages wait in profile %q, want %d", got, key, want)
		}
	}
	view := h.view()
	dropped := 0
	audits, _, err := view.Audit(fsm.AuditFilter{}, 100)
	must(t, err)
	for _, a := range audits {
		if a.Kind == fsm.AuditDropMessage && a.Key == "never" {
			dropped++
		}
	}
	must(t, view.Close())
	if dropped != 2 {
		t.Errorf("the audit has %d dropped messages, want 2", dropped)
	}
	h.apply(h.ask(owner, &fsm.EndServer{}))
	h.countDays(1)
	h.dropDue()
	if got := waiting("owned"); got != 0 {
		t.Errorf("a day after its owner was gone %d messages wait", got)
	}
	checkTables(t, h.m)
}

// Messages of one profile are bounded by their bytes too, and what is cleared makes room.
func TestMessagesAreBoundedInBytes(t *testing.T) {
	h := newHeavy(t)
	defer func() { must(t, h.m.Close()) }()
	tool := h.server("tool")
	h.apply(h.ask(tool, &fsm.SetPolicy{Name: fsm.PolicyMaxMessageBytes, Value: 100}))
	send := func(size int) fsm.Result {
		h.index++
		return read(h.m.Apply([]fsm.Log{entry(t, h.index, h.ask(tool, &fsm.Send{Store: "players", Key: "p", Body: make([]byte, size)}))}))(t)[0].Results[0]
	}
	for i, want := range []fsm.Code{fsm.OK, fsm.OK, fsm.InboxFull} {
		if r := send(50); r.Code != want || want == fsm.InboxFull && r.Limit != 100 {
			t.Errorf("message %d of 50 bytes became %s with limit %d", i, codeNames[r.Code], r.Limit)
		}
	}
	h.apply(h.ask(tool, &fsm.ClearMessage{Store: "players", Key: "p", Id: 1}))
	if r := send(50); r.Code != fsm.OK {
		t.Errorf("after one was cleared, a message became %s", codeNames[r.Code])
	}
	checkTables(t, h.m)
}
