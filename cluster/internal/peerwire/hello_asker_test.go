package peerwire

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// An answer counts as a member's only if it is of that node and of this cluster; all others are kept by address.
func TestOnlyTheRightNodeAnswersForAMember(t *testing.T) {
	servers := []raft.Server{
		{ID: "a", Address: "a@a:1"}, {ID: "b", Address: "b@b:1"}, {ID: "c", Address: "c@c:1"}, {ID: "d", Address: "d@d:1"}, {ID: "e", Address: "e@e:1"},
	}
	r := HelloRound{Own: Hello{ID: "a", Cluster: "x"}, Servers: servers, Answers: map[string]Hello{
		"b:1": {ID: "b", Member: true, Cluster: "x"},
		"c:1": {ID: "c2", Member: true, Cluster: "x"},
		"d:1": {ID: "d", Member: true, Cluster: "y"},
		"e:1": {ID: "e", Cluster: "x"},
	}}
	r.findMembers()
	if len(r.Members) != 2 || r.Members["a"].ID != "a" || r.Members["b"].ID != "b" {
		t.Errorf("members that answered: %v, want a and b", r.Members)
	}
}

// AwaitRound returns no round that began before the call: its answers are older than what the caller has done.
func TestARoundThatIsAwaitedBeginsAfterTheCall(t *testing.T) {
	b := loopback(t, "b", "c1")
	a := loopback(t, "a", "c1").NewHelloAsker(AskedNodes{
		Listed:   []string{b.Advertised(), "127.0.0.1:1"},
		Servers:  func() []raft.Server { return []raft.Server{{ID: "b", Address: RaftAddress("b", b.Advertised())}} },
		Own:      func() Hello { return Hello{ID: "a", Cluster: "c1"} },
		Question: func() HelloQuestion { return HelloQuestion{DigestAt: 5} },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	checking, checked := make(chan uint64), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Run(ctx, func(r *HelloRound) { checking <- r.Number; <-checked })
	}()
	if number := <-checking; number != 1 || a.Last().Number != 1 {
		t.Errorf("the first round is %d, the last %d", number, a.Last().Number)
	}
	awaited := make(chan *HelloRound)
	go func() {
		r, ok := a.AwaitRound(ctx)
		if !ok {
			r = &HelloRound{}
		}
		awaited <- r
	}()
	a.AskNow()
	checked <- struct{}{}
	var r *HelloRound
	for r == nil {
		select {
		case <-checking:
			checked <- struct{}{}
		case r = <-awaited:
		}
	}
	if r.Number < 2 {
		t.Fatalf("awaited round %d, which had begun before", r.Number)
	}
	if h := r.Answers[b.Advertised()]; h.ID != "b" || h.DigestAt != 5 || r.Errors["127.0.0.1:1"] == nil || len(r.Answers) != 1 {
		t.Errorf("answers %v, errors %v: want one of b and one error", r.Answers, r.Errors)
	}
	cancel()
	for over := false; !over; {
		select {
		case <-checking:
			checked <- struct{}{}
		case <-ended:
			over = true
		}
	}
	if _, ok := a.AwaitRound(ctx); ok {
		t.Error("a round is awaited after the end")
	}
}
