package server_test

import (
	"fmt"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// holder is a game server with many sessions, and the renewal that states them.
type holder struct {
	*game
	count, hash uint64
}

// holderOf registers a game server that holds sessions, with messages in one of them and none in the others.
func holderOf(w *world, node *fakeNode, name string, sessions int) *holder {
	w.t.Helper()
	h := &holder{game: w.register(name)}
	for i := range sessions {
		key := fmt.Sprint(name, "-", i)
		q := &fsm.Request{Incarnation: h.id, Number: uint64(i + 1), Settled: uint64(i), Hash: 1, Registration: h.stamps.registration(h.id)}
		r, err := node.Log.Apply(fsm.NewCommand(q, &fsm.StartSession{Store: "players", Key: key}))
		if err != nil || r.Code != fsm.OK {
			w.t.Fatalf("start a session: %+v, %v", r, err)
		}
		h.count, h.hash = h.count+1, lock.HeldHash(h.hash, "players", key, r.Token)
		h.last = q.Number
	}
	if _, err := h.profiles.Send(soon(w.t), &profilev1.SendRequest{Request: h.next(), Store: "players", Key: fmt.Sprint(name, "-1")}); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// renewFirst makes the first renewal at a new leader.
func (h *holder) renewFirst() *profilev1.Renewed {
	answer, err := h.profiles.Renew(soon(h.t), &profilev1.Renewal{Incarnation: h.id, Sequence: 1, HeldCount: h.count, HeldHash: h.hash})
	if err != nil {
		h.t.Fatal(err)
	}
	return answer
}

// A new leader reads the contested profiles and those with messages of each game server, and no other session if the held set
// agrees.
func TestANewLeaderReadsNoSessionThatAgrees(t *testing.T) {
	w, node := fake(t, server.Limits{})
	few, many := holderOf(w, node, "few", 10), holderOf(w, node, "many", 5000)
	cost := map[*holder]float64{}
	for _, h := range []*holder{few, many} {
		if answer := h.renewFirst(); answer.Differs || len(answer.Events) != 1 || answer.Events[0].GetMessage() == nil {
			t.Fatalf("the answer is %v, want that the set agrees, and a message", answer)
		}
		cost[h] = testing.AllocsPerRun(20, func() { h.renewFirst() })
	}
	// Reading a session allocates its key, its row and its grant.
	if more := cost[many] - cost[few]; more > 1000 {
		t.Errorf("a renewal with %d sessions makes %.0f allocations more than one with %d", many.count, more, few.count)
	}
}

// BenchmarkLeaderChange: the first renewals of 20 game servers with 10,000 sessions each.
func BenchmarkLeaderChange(b *testing.B) {
	w, node := fake(b, server.Limits{})
	var holders []*holder
	for i := range 20 {
		holders = append(holders, holderOf(w, node, fmt.Sprint("gs-", i), 10_000))
	}
	for b.Loop() {
		for _, h := range holders {
			if h.renewFirst().Differs {
				b.Fatal("the held set differs")
			}
		}
	}
}

// BenchmarkComparison: all pages of a comparison of 10,000 sessions, since one of them differs.
func BenchmarkComparison(b *testing.B) {
	w, node := fake(b, server.Limits{})
	h := holderOf(w, node, "gs", 10_000)
	for b.Loop() {
		r := &profilev1.Renewal{Incarnation: h.id, Sequence: 1, HeldCount: h.count, HeldHash: h.hash + 1}
		for listed := uint64(0); listed < h.count; {
			answer, err := h.profiles.Renew(soon(b), r)
			if err != nil || !answer.Differs {
				b.Fatalf("the answer is %v, %v", answer, err)
			}
			listed += uint64(len(answer.Grants))
			r.Page = answer.Last
		}
	}
}
