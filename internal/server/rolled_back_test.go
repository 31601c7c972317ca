package server_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

func alarmsOf(t *testing.T, n *fakeNode) []fsm.Alarm {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	alarms, err := view.Alarms()
	if err != nil {
		t.Fatal(err)
	}
	return alarms
}

// Old disks were put back: a game server that was told more than the log holds learns it by every way that it asks, also
// when its row is not there any more, and an alarm stands until an operator clears it.
func TestAClusterOnOldDisksTellsItsGameServersAndRaisesAnAlarm(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("a")
	s := g.live()
	s.renew()
	node.EndAt(50)

	r := s.renewal()
	r.Seen = 51
	_, err := w.profiles.Renew(soon(t), r)
	wantReason(t, err, profilev1.Reason_REASON_ROLLED_BACK)
	_, err = w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: uint64(lock.TokenAt(40, 0)), Sequence: 1, Seen: 51})
	wantReason(t, err, profilev1.Reason_REASON_ROLLED_BACK)
	if err := s.live.Send(r); err != nil {
		t.Fatal(err)
	}
	_, err = s.live.Recv()
	wantReason(t, err, profilev1.Reason_REASON_ROLLED_BACK)
	q := &profilev1.RegisterRequest{Name: "b", Nonce: bytes.Repeat([]byte{3}, 16), Seen: 51, SeenEpoch: 1}
	_, err = w.profiles.Register(soon(t), q)
	wantReason(t, err, profilev1.Reason_REASON_ROLLED_BACK)

	alarms := alarmsOf(t, node)
	if len(alarms) != 1 || alarms[0].Code != string(cluster.AlarmRolledBack) {
		t.Fatalf("the alarms are %v", alarms)
	}
	clearing := &profilev1.ClearAlarmRequest{Request: g.next(), Code: "ROLLED_BACK"}
	if _, err := w.cluster.ClearAlarm(soon(t), clearing); err != nil {
		t.Fatal(err)
	}
	if alarms := alarmsOf(t, node); len(alarms) != 0 {
		t.Errorf("after it was cleared there are %v", alarms)
	}
	_, err = w.cluster.ClearAlarm(soon(t), &profilev1.ClearAlarmRequest{Request: g.next(), Code: "ROLLED_BACK"})
	wantReason(t, err, profilev1.Reason_REASON_SUPERSEDED)
	_, err = w.cluster.ClearAlarm(soon(t), &profilev1.ClearAlarmRequest{Request: g.next(), Code: "rolled back"})
	wantReason(t, err, profilev1.Reason_REASON_INVALID)

	// What was told under another epoch counts for nothing: a restore begins elsewhere.
	q.SeenEpoch = 7
	if _, err := w.profiles.Register(soon(t), q); err != nil {
		t.Errorf("register after a restore: %v", err)
	}
}

// A follower has applied an entry that the leader has only in its log, and tells a reader of it. That is a sound cluster.
func TestALeaderWhoseTablesAreBehindWasNotRolledBack(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("a")
	applied := node.Index()
	node.EndAt(applied + 1)
	if _, err := w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: g.id, Sequence: 1, Seen: applied + 1}); err != nil {
		t.Errorf("a leader whose tables are one entry behind its log: %v", err)
	}
	q := &profilev1.RegisterRequest{Name: "b", Nonce: bytes.Repeat([]byte{3}, 16), Seen: applied + 1, SeenEpoch: 1}
	if _, err := w.profiles.Register(soon(t), q); err != nil {
		t.Errorf("register with it: %v", err)
	}
	if alarms := alarmsOf(t, node); len(alarms) > 0 {
		t.Errorf("a sound cluster raises %v", alarms)
	}
}

// A leader that was deposed has a short log too. It says nothing of the kind before it has confirmed its lead.
func TestALeaderThatCannotConfirmItsLeadWasNotRolledBack(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("a")
	node.EndAt(50)
	node.Confirm = func(context.Context) error { return cluster.ErrUnconfirmed }
	_, err := w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: g.id, Sequence: 1, Seen: 51})
	wantReason(t, err, profilev1.Reason_REASON_UNCONFIRMED)
	_, err = w.profiles.Register(soon(t), &profilev1.RegisterRequest{Name: "b", Nonce: bytes.Repeat([]byte{3}, 16), Seen: 51, SeenEpoch: 1})
	wantReason(t, err, profilev1.Reason_REASON_UNCONFIRMED)
	if alarms := alarmsOf(t, node); len(alarms) > 0 {
		t.Errorf("it raises %v", alarms)
	}
}

// An operator lets a node join; the address is a row that everybody can list.
func TestAnOperatorExpectsANode(t *testing.T) {
	w, _ := fake(t, server.Limits{})
	g := w.register("op")
	if _, err := w.cluster.AddMember(soon(t), &profilev1.AddMemberRequest{Request: g.next(), Address: "10.0.0.4:7401"}); err != nil {
		t.Fatal(err)
	}
	_, err := w.cluster.AddMember(soon(t), &profilev1.AddMemberRequest{Request: g.next(), Address: "10.0.0.4"})
	wantReason(t, err, profilev1.Reason_REASON_INVALID)
	listed, err := w.cluster.ExpectedMembers(soon(t), &profilev1.ExpectedMembersRequest{})
	if err != nil || len(listed.Addresses) != 1 || listed.Addresses[0] != "10.0.0.4:7401" {
		t.Errorf("expected are %v, %v", listed, err)
	}
}
