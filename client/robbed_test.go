package client_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
)

// An owner that heard nothing for the evidence time was robbed. When it hears again, the leader's disk stalls, so that no
// answer is confirmed: neither those nor the one confirmed answer that did not list the profile may make its session active
// beside the thief's.
func TestARobbedOwnerIsNotActiveWhileItsLeaderStalls(t *testing.T) {
	for _, test := range []struct {
		name  string
		heard bool // one confirmed answer comes before the leader stalls
	}{
		{"from the first answer on", false},
		{"after one confirmed answer", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { robbed(t, test.heard) })
		})
	}
}

func robbed(t *testing.T, heard bool) {
	town, _, p := playing(t, "n1:7400")
	thief := clienttest.Store(t, town.open(t, town.config("thief")), "players", player{})
	owner := uint64(town.Alive("a"))
	time.Sleep(2 * time.Second)

	cut := func(_, method string, request proto.Message) error { // the owner's calls do not come through
		switch q := request.(type) {
		case *profilev1.Renewal:
			if q.Incarnation == owner {
				return errUnheard
			}
		case interface{ GetRequest() *profilev1.Request }:
			if q.GetRequest().GetIncarnation() == owner {
				return errUnheard
			}
		}
		return nil
	}
	town.Set(func() { town.Before = cut })
	town.Deafen(true) // until the owner's stream has ended by its next renewal
	stolen := make(chan *client.Profile[player], 1)
	go func() {
		q, err := thief.StartSession(t.Context(), "ann", client.IfOwnedSteal)
		if err != nil {
			t.Error(err)
		}
		stolen <- q
	}()
	time.Sleep(2 * time.Second)
	town.Deafen(false)
	time.Sleep(2600 * time.Millisecond) // the evidence time is over, and a tick
	if got := p.State(); got != client.StateInDoubt {
		t.Fatalf("the owner after the evidence time: got %v, %v, want in doubt", got, p.Err())
	}
	town.Lapse("players", "ann")
	q := <-stolen
	if q == nil || !q.IsActive() {
		t.Fatal("the thief's session is not active")
	}

	// The stalled leader could tell by a read as well. Its reads are as stuck as its renewals.
	town.Set(func() {
		town.Before = func(_, method string, _ proto.Message) error {
			if method == "Get" {
				return errUnheard
			}
			return nil
		}
		town.Unconfirmed = !heard
	})
	differed := town.Differed()
	if heard {
		until(t, "a confirmed answer to the owner", func() bool {
			return town.Differed() > differed || p.IsActive()
		})
		town.Set(func() { town.Unconfirmed = true })
	}
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		if p.IsActive() {
			t.Fatalf("active %v after the owner was heard again, beside the thief", time.Since(began))
		}
	}
	if !heard && town.Differed() != differed {
		t.Error("an answer that confirms nothing compared the held sets")
	}
	town.Set(func() { town.Before, town.Unconfirmed = nil, false })
	until(t, "the owner to know", func() bool { return p.State() == client.StateOver })
	if err := p.Err(); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("the owner's session: got %v, want ErrSessionOver", err)
	}
	until(t, "the thief's session to be held again", q.IsActive)
}
