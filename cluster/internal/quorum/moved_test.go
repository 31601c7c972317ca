package quorum

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// movingRounds holds rounds of node a, a second apart. Of its cluster, a to c at a:7401 to c:7401, it hears who answers where.
type movingRounds struct {
	watch       MoveWatch
	processes   map[string]string // by address, "id/process" of who answers
	again       map[string]string // the same, where another connection reaches somebody else
	leaderKnown bool
}

func (r *movingRounds) hold(count int) (last Moves) {
	hello := func(who string) peerwire.Hello {
		id, process, _ := strings.Cut(who, "/")
		return peerwire.Hello{ID: id, ProcessID: process, Member: true, Cluster: "ours"}
	}
	for range count {
		round := &peerwire.HelloRound{
			Own:     peerwire.Hello{ID: "a", ProcessID: "1", Address: "a:7401", Cluster: "ours", Member: true},
			Servers: servers("abc"), Answers: map[string]peerwire.Hello{}, Members: map[string]peerwire.Hello{},
		}
		for at, who := range r.processes {
			h := hello(who)
			round.Answers[at] = h
			if at == h.ID+":7401" {
				round.Members[h.ID] = h
			}
		}
		last = r.watch.CompareRound(round, r.leaderKnown, func(at string) (peerwire.Hello, error) {
			if who := r.again[at]; who != "" {
				return hello(who), nil
			}
			if who := r.processes[at]; who != "" {
				return hello(who), nil
			}
			return peerwire.Hello{}, errors.New("no answer")
		})
		time.Sleep(time.Second)
	}
	return last
}

func TestAVoterIsReachedElsewhere(t *testing.T) {
	for _, test := range []struct {
		name   string
		in     movingRounds
		rounds int
		change func(*movingRounds) // after the rounds; then follow three more
		moved  string              // "address process" of b; "": it is not reached elsewhere
		copied bool
	}{
		{"it moved, and nobody leads", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15, nil, "x:1 2", false},
		{"not before ten seconds", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 10, nil, "", false},
		{"a leader is known", movingRounds{processes: map[string]string{"x:1": "b/2"}, leaderKnown: true}, 30, nil, "", false},
		{"a leader is known by now", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15,
			func(r *movingRounds) { r.leaderKnown = true }, "x:1 2", false},
		{"it has another process by now", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15,
			func(r *movingRounds) { r.leaderKnown, r.processes["x:1"] = true, "b/3" }, "x:1 3", false},
		{"it does not answer by now", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15,
			func(r *movingRounds) { delete(r.processes, "x:1") }, "x:1 2", false},
		{"it is back at its address", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15,
			func(r *movingRounds) { r.processes = map[string]string{"b:7401": "b/3"} }, "", false},
		{"it moves on while a leader is known", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15,
			func(r *movingRounds) { r.leaderKnown, r.processes = true, map[string]string{"y:1": "b/3"} }, "", false},
		{"it is at its address too", movingRounds{processes: map[string]string{"b:7401": "b/2", "x:1": "b/2"}}, 30, nil, "", false},
		{"a copy of one that is in its place", movingRounds{processes: map[string]string{"b:7401": "b/2", "x:1": "b/3"}}, 30, nil, "", true},
		{"at two addresses", movingRounds{processes: map[string]string{"x:1": "b/2", "y:1": "b/3"}}, 30, nil, "", true},
		{"at two addresses by now", movingRounds{processes: map[string]string{"x:1": "b/2"}}, 15,
			func(r *movingRounds) { r.processes["y:1"] = "b/3" }, "", true},
		{"one process under two names", movingRounds{processes: map[string]string{"x:1": "b/2", "y:1": "b/2"}}, 15, nil, "x:1 2", false},
		{"two processes under one name", movingRounds{processes: map[string]string{"x:1": "b/2"}, again: map[string]string{"x:1": "b/3"}}, 30, nil, "", true},
		{"two nodes under one name", movingRounds{processes: map[string]string{"x:1": "b/2"}, again: map[string]string{"x:1": "c/3"}}, 30, nil, "", false},
		{"this node's own folder was copied", movingRounds{processes: map[string]string{"x:1": "b/2", "z:1": "a/9"}}, 30, nil, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.in
				got := r.hold(test.rounds)
				if test.change != nil {
					test.change(&r)
					got = r.hold(3)
				}
				at := ""
				if place, moved := got.Moved["b"]; moved {
					at = place.Address + " " + place.ProcessID
				}
				if at != test.moved || (got.Copied != "") != test.copied {
					t.Errorf("b is reached at %q, and the alarm is %q: want %q, an alarm: %v", at, got.Copied, test.moved, test.copied)
				}
			})
		})
	}
}
