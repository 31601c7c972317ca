package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// A request that ended unknown is settled: Outcome returns its fate, at once and whenever it is asked again.
func TestOutcomeSaysWhatBecameOfAnUnknownRequest(t *testing.T) {
	for _, test := range []struct {
		name     string
		before   bool // the requests are lost; else the answers are
		expected uint64
		want     client.Fate
		revision uint64
		why      error
	}{
		{name: "it landed and the answer was lost", want: client.FateHappened, revision: 1},
		{name: "it never arrived", before: true, want: client.FateNever},
		{name: "it was refused and the refusal was lost", expected: 7, want: client.FateRefused, why: client.ErrConflict},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster, wire := clienttest.Start(t), newWire()
				c := cluster.Open(t, cluster.Config("a").WithDialOptions(wire.option()))
				store := clienttest.Store(t, c, "players", player{})
				lost := wire.deaf
				if test.before {
					lost = wire.mute
				}
				wire.set(lost, profilev1.Profiles_Set_FullMethodName, true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := store.Set(ctx, "ann", player{Coins: 1}, client.AtRevision(test.expected))
				if !errors.Is(err, client.ErrUnknown) {
					t.Fatalf("set: got %v, want ErrUnknown", err)
				}
				for range 2 {
					got, failed := c.Outcome(t.Context(), fmt.Errorf("wrapped: %w", err))
					if failed != nil || got.Fate != test.want || got.Revision != test.revision || !errors.Is(got.Err, test.why) {
						t.Errorf("outcome: got %+v, %v, want %v at revision %d, %v", got, failed, test.want, test.revision, test.why)
					}
					time.Sleep(time.Minute)
				}
				if n := wire.count(profilev1.Profiles_Settle_FullMethodName); n != 1 {
					t.Errorf("the number was settled %d times, want once", n)
				}
			})
		})
	}
}

// A save that its caller did not wait for is still being tried: Outcome waits for its end.
func TestOutcomeOfASaveThatIsStillBeingTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := clienttest.Start(t)
		c := cluster.Client(t, "a")
		p, err := clienttest.Store(t, c, "players", player{}).StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		cluster.Disconnect("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.Save(ctx)
		if !errors.Is(err, client.ErrUnknown) {
			t.Fatalf("save: got %v, want ErrUnknown", err)
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, still := c.Outcome(soon, err); !errors.Is(still, client.ErrUnavailable) {
			t.Errorf("outcome while the cluster is out of reach: got %v, want ErrUnavailable", still)
		}
		cluster.Reconnect("a")
		if got, failed := c.Outcome(t.Context(), err); failed != nil || got.Fate != client.FateHappened || got.Revision != 1 {
			t.Errorf("outcome: got %+v, %v, want that it happened, at revision 1", got, failed)
		}
	})
}

func TestOutcomeOfWhatWasNeverUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, "n1:7400")
		c := town.open(t, town.config("a"))
		for _, err := range []error{nil, errors.New("other"), &client.Error{Kind: client.ErrConflict}} {
			if _, failed := c.Outcome(t.Context(), err); !errors.Is(failed, client.ErrInvalid) {
				t.Errorf("outcome of %v: got %v, want ErrInvalid", err, failed)
			}
		}
	})
}
