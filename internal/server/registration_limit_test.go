package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// tryToRegister registers under a name, with a nonce made of it.
func (w *world) tryToRegister(name string, replaces, returning uint64) (*profilev1.RegisterResponse, error) {
	w.t.Helper()
	nonce := nonceOf(name)
	return w.profiles.Register(soon(w.t), &profilev1.RegisterRequest{Name: name, Nonce: nonce, Replaces: replaces, Returning: returning})
}

func (g *game) setPolicy(name string, value int64) {
	g.t.Helper()
	if _, err := g.cluster.SetPolicy(soon(g.t), &profilev1.SetPolicyRequest{Request: g.next(), Name: name, Value: value}); err != nil {
		g.t.Fatal(err)
	}
}

func nonceOf(name string) []byte { return []byte(fmt.Sprintf("%-16s", name)) }

func limitOf(t *testing.T, err error) *profilev1.Refusal {
	t.Helper()
	refusal := wantReason(t, err, profilev1.Reason_REASON_REGISTRATION_LIMITED)
	if refusal.RetryAfterMs == 0 {
		t.Errorf("the refusal does not say when to try again: %v", err)
	}
	return refusal
}

// Registrations beyond the cluster's rate are refused. Whoever comes back after an expiry is not, and is not counted; whoever
// only says so is.
func TestRegistrationsAreLimitedByRate(t *testing.T) {
	w, node := fake(t, server.Limits{})
	operator := w.register("operator")
	operator.setPolicy(fsm.PolicyRegistrations, 3)
	again, err := w.tryToRegister("gs-0", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var old []*profilev1.RegisterResponse
	for i := range 3 {
		reply, err := w.tryToRegister(fmt.Sprint("gs-", i), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, reply)
	}
	if old[0].Incarnation != again.Incarnation {
		t.Error("the same nonce gives another incarnation")
	}
	late := time.Now().Add(patience)
	for i := 0; ; i++ {
		if _, err := w.tryToRegister(fmt.Sprint("more-", i), 0, 0); err != nil {
			if refusal := limitOf(t, err); refusal.Policy != fsm.PolicyRegistrations || refusal.Limit != 3 {
				t.Errorf("the refusal is of policy %q, limit %d", refusal.Policy, refusal.Limit)
			}
			break
		}
		if time.Now().After(late) {
			t.Fatal("a loop of registrations is never refused")
		}
	}
	expire(t, node, lock.Silence, old[0].Incarnation, old[1].Incarnation)
	expire(t, node, lock.Goodbye, old[2].Incarnation)
	operator.setPolicy(fsm.PolicyRegistrations, 1)
	for i := 0; ; i++ { // until the second is used up
		if _, err := w.tryToRegister(fmt.Sprint("again-", i), 0, 0); err != nil {
			limitOf(t, err)
			break
		}
	}
	head := func(i int) uint64 { return binary.BigEndian.Uint64(nonceOf(fmt.Sprint("gs-", i))) }
	w.wantLimited(old[0].Incarnation, 5)
	w.wantLimited(old[2].Incarnation, head(2))
	for i := range 20 {
		which := i % 2
		if _, err := w.tryToRegister(fmt.Sprint("returns-", i), old[which].Incarnation, head(which)); err != nil {
			t.Errorf("a process that comes back: %v", err)
		}
	}
}

// wantLimited registers until that is refused, which is at once unless a second has passed.
func (w *world) wantLimited(replaces, returning uint64) {
	w.t.Helper()
	for i := range 10 {
		if _, err := w.tryToRegister(fmt.Sprint("false-", replaces, "-", i), replaces, returning); err != nil {
			limitOf(w.t.(*testing.T), err)
			return
		}
	}
	w.t.Errorf("a registration that does not fit incarnation %d is not counted", replaces)
}

func expire(t *testing.T, node *fakeNode, ground lock.Ground, servers ...uint64) {
	t.Helper()
	view, err := node.View()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = view.Close() }()
	expiries := &fsm.ExpireServers{Term: 1}
	for _, id := range servers {
		about, _, err := view.Server(lock.Incarnation(id))
		if err != nil {
			t.Fatal(err)
		}
		expiries.Expiries = append(expiries.Expiries, &fsm.Expiry{Incarnation: id, Last: uint64(about.Last), Ground: uint32(ground)})
	}
	if done, err := node.Propose(context.Background(), fsm.NewCommand(nil, expiries)); err != nil || done.Code != fsm.OK {
		t.Fatal(done, err)
	}
}

// The count of living game servers is limited. A tool is let in beyond it, so that an operator can act.
func TestLivingGameServersAreLimited(t *testing.T) {
	w, node := fake(t, server.Limits{})
	operator := w.register("operator")
	operator.setPolicy(fsm.PolicyMaxServers, 3)
	first, err := w.tryToRegister("gs-1", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.register("gs-2")
	_, err = w.tryToRegister("gs-3", 0, 0)
	if refusal := limitOf(t, err); refusal.Policy != fsm.PolicyMaxServers || refusal.Limit != 3 {
		t.Errorf("the refusal is of policy %q, limit %d", refusal.Policy, refusal.Limit)
	}
	tool := &profilev1.RegisterRequest{Name: "tool-1", Kind: profilev1.ServerKind_SERVER_KIND_TOOL, Nonce: bytes.Repeat([]byte{9}, 16)}
	if _, err := w.profiles.Register(soon(t), tool); err != nil {
		t.Errorf("a tool: %v", err)
	}
	expire(t, node, lock.Silence, first.Incarnation)
	_, err = w.tryToRegister("gs-3", 0, 0)
	limitOf(t, err) // the tool is one of three
	operator.setPolicy(fsm.PolicyMaxServers, 4)
	w.register("gs-3")
}

// From 500 living game servers on the answer to a renewal says that few connections are to be kept, and goes on saying so
// until there are clearly fewer.
func TestRenewalsSayWhenToKeepFewConnections(t *testing.T) {
	w, node := fake(t, server.Limits{})
	g := w.register("gs-1")
	g.setPolicy(fsm.PolicyRegistrations, 100_000)
	said := func() bool {
		answer, err := w.profiles.Renew(soon(t), &profilev1.Renewal{Incarnation: g.id, Sequence: 1, Binding: g.stamps.binding, Registration: g.stamps.registration(g.id)})
		if err != nil {
			t.Fatal(err)
		}
		return answer.FewConnections
	}
	var others []uint64
	for i := range 498 {
		others = append(others, w.register(fmt.Sprint("other-", i)).id)
	}
	if said() {
		t.Error("few connections with 499 game servers")
	}
	w.register("gs-500")
	if !said() {
		t.Error("many connections with 500 game servers")
	}
	expire(t, node, lock.Silence, others[:50]...)
	if !said() {
		t.Error("many connections again with 450 game servers")
	}
	expire(t, node, lock.Silence, others[50])
	if said() {
		t.Error("still few connections with 449 game servers")
	}
}
