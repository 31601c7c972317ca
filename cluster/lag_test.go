package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// lagRounds holds rounds of a leader a, half a second apart, that applies an entry in each, and of a member b.
type lagRounds struct {
	lag    memberLag
	at     time.Time
	index  uint64
	behind bool
}

// hold holds rounds for a time. applied is b's answer, from its leader's index; nil: it does not answer.
func (r *lagRounds) hold(upTo time.Duration, processID string, applied func(leader uint64) uint64) (found time.Duration) {
	found = -1
	for since := time.Duration(0); since < upTo; since += 500 * time.Millisecond {
		r.at, r.index = r.at.Add(500*time.Millisecond), r.index+1
		round := &peerwire.HelloRound{
			Began: r.at, Own: peerwire.Hello{ID: "a", Applied: r.index}, Members: map[string]peerwire.Hello{},
			Servers: []raft.Server{{ID: "a"}, {ID: "b"}},
		}
		round.Members["a"] = round.Own
		if applied != nil {
			round.Members["b"] = peerwire.Hello{ID: "b", ProcessID: processID, Applied: applied(r.index)}
		}
		r.behind = false
		for _, m := range r.lag.compareRound(round) {
			if m.ID != "b" {
				panic("the leader is behind itself")
			}
			r.behind = true
		}
		if r.behind && found < 0 {
			found = since
		}
	}
	return found
}

func TestAMemberIsBehindThatHasNotAppliedForLongWhatItsLeaderHas(t *testing.T) {
	level := func(leader uint64) uint64 { return leader }
	lagging := func(by time.Duration) func(uint64) uint64 {
		return func(leader uint64) uint64 { return leader - min(leader, uint64(by/(500*time.Millisecond))) }
	}
	still := func(at uint64) func(uint64) uint64 { return func(uint64) uint64 { return at } }
	t.Run("it stands still", func(t *testing.T) {
		r := &lagRounds{}
		if found := r.hold(2*time.Minute, "p", level); found >= 0 {
			t.Fatalf("a member that is level is behind after %v", found)
		}
		if found := r.hold(time.Minute, "p", still(r.index)); found < behindFor || found > behindFor+2*time.Second {
			t.Errorf("one that stands still is behind after %v, want %v", found, behindFor)
		}
		if !r.behind {
			t.Error("it is behind no longer, and still stands")
		}
		if r.hold(time.Second, "p", level); r.behind {
			t.Error("it has caught up, and is behind")
		}
	})
	t.Run("it lags", func(t *testing.T) {
		r := &lagRounds{}
		if found := r.hold(3*time.Minute, "p", lagging(29*time.Second)); found >= 0 {
			t.Errorf("29 s late it is behind after %v", found)
		}
		if r.hold(3*time.Minute, "p", lagging(32*time.Second)); !r.behind {
			t.Error("32 s late it is not behind")
		}
	})
	t.Run("it comes back", func(t *testing.T) {
		r := &lagRounds{}
		r.hold(time.Minute, "p", level)
		was := r.index
		if found := r.hold(time.Minute, "", nil); found >= 0 {
			t.Errorf("one that does not answer is behind after %v", found)
		}
		if found := r.hold(29*time.Second, "p", still(was)); found >= 0 {
			t.Errorf("one that answers again is behind after %v", found)
		}
		if found := r.hold(29*time.Second, "q", still(was)); found >= 0 {
			t.Errorf("one that has just started is behind after %v", found)
		}
		if r.hold(3*time.Second, "q", still(was)); !r.behind {
			t.Error("it had its time, and is not behind")
		}
		r.hold(2*time.Second, "", nil) // some lost answers
		if r.hold(time.Second, "q", still(was)); !r.behind {
			t.Error("after a few lost answers it is not behind")
		}
	})
	t.Run("nothing is applied", func(t *testing.T) {
		r := &lagRounds{}
		r.hold(time.Minute, "p", level)
		var lag memberLag
		for i := range 200 {
			hello := peerwire.Hello{ID: "b", Applied: 7}
			if len(lag.compareRound(&peerwire.HelloRound{
				Began: r.at.Add(time.Duration(i) * time.Second), Own: peerwire.Hello{ID: "a", Applied: 7},
				Members: map[string]peerwire.Hello{"b": hello},
			})) > 0 {
				t.Fatal("it is behind, with all that there is")
			}
		}
	})
}
