package client_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/client"
)

var errUnheard = errors.New("not heard")

// The leader counts from the arrival of a renewal, which is after it was sent and may be long before its answer is read.
func TestDoubtCountsFromTheSendTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		const under = time.Second // way of an answer
		var stop atomic.Bool
		var last atomic.Int64 // when the renewal came that was answered last
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method != "Live" {
					return nil
				}
				came := time.Now().UnixNano()
				time.Sleep(under)
				if stop.Load() {
					return errUnheard
				}
				last.Store(came)
				return nil
			}
		})
		time.Sleep(10500 * time.Millisecond)
		stop.Store(true)
		until(t, "doubt", func() bool { return p.State() == client.StateInDoubt })
		if after := time.Since(time.Unix(0, last.Load())); after > 3*time.Second+50*time.Millisecond || after < 3*time.Second {
			t.Errorf("in doubt %v after the last renewal that was answered had been sent, want 3 s", after)
		}
		town.Set(func() { town.Before = nil })
		time.Sleep(2 * under) // until no call is held up any more
	})
}

// Whatever else a node answers shows only that this node runs.
func TestOtherAnswersRenewNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p := playing(t, "n1:7400")
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Live" {
					return errUnheard
				}
				return nil
			}
		})
		for cut := time.Now(); time.Since(cut) < 3100*time.Millisecond; time.Sleep(100 * time.Millisecond) {
			if _, err := store.Get(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Send(t.Context(), "ann", "hello"); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.State(); got != client.StateInDoubt {
			t.Errorf("after 3.1 s of answers to all but renewals: got %v, want in doubt", got)
		}
	})
}

// A list that was made before a grant, or by a node that errs, ends nothing: the log is asked.
func TestAnUnlistedSessionThatIsOwnedGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, _, p := playing(t, "n1:7400")
		time.Sleep(3 * time.Second)
		town.unlist(true)
		time.Sleep(3 * time.Second)
		if town.unlist(false); town.Differed() == 0 {
			t.Fatal("the list was not short")
		}
		time.Sleep(3 * time.Second)
		if got := p.State(); got != client.StateHeld {
			t.Errorf("after lists without its profile: got %v, %v, want held", got, p.Err())
		}
		if n := town.Count("Release"); n != 0 {
			t.Errorf("%d releases, want none", n)
		}
	})
}
