package client_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/server/servertest"
	"github.com/profilenode/profilenode/lock"
)

// endOf waits for the report of a session's end.
func endOf(p *client.Profile[player]) client.End {
	ended := make(chan client.End, 1)
	p.OnSessionEnd(func(end client.End) { ended <- end })
	return <-ended
}

func codeOf(err error) string {
	var e *client.Error
	for errors.As(err, &e) {
		if e.Code != "" {
			return string(e.Code)
		}
		err = e.Cause
	}
	return ""
}

// Old disks were put back under all nodes. The profiles of this game server may have any owner now, so it must not go on,
// nor start again as if nothing had happened, whether the old tables still know it or not.
func TestARolledBackClusterEndsTheGameServersClient(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		town := newTown(t, "n1:1")
		founded := town.Index()
		c := town.open(t, town.config("a"))
		store, err := client.NewStore(c, "players", player{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := store.StartSession(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Update(func(v *player) { v.Coins++ }); err != nil {
			t.Fatal(err)
		}
		town.Skip(100)
		if err := p.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		if c.Err() != nil {
			t.Fatalf("a client that lives says that it ended: %v", c.Err())
		}
		if forgets {
			town.RollBack(founded) // the tables are older than the incarnation
		} else {
			town.RollBack(town.Index() - 100)
		}
		for name, done := range map[string]<-chan struct{}{"the client": c.Done(), "the session": p.Done()} {
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatalf("forgets %v: %s goes on with a cluster that was rolled back", forgets, name)
			}
		}
		if codeOf(c.Err()) != "ROLLED_BACK" || codeOf(p.Err()) != "ROLLED_BACK" {
			t.Errorf("the client ended by %v, the session by %v, want ROLLED_BACK", c.Err(), p.Err())
		}
		if end := endOf(p); end.Reason != client.EndRolledBack {
			t.Errorf("the session ended as %v", end.Reason)
		}
		if p.IsActive() || c.State() != client.StateOver {
			t.Error("something is active after the client has ended")
		}
		began := time.Now()
		if _, err := store.StartSession(t.Context(), "bob"); !errors.Is(err, client.ErrClosed) || codeOf(err) != "ROLLED_BACK" {
			t.Errorf("a session is started by a client that has ended: %v", err)
		}
		if err := c.Close(); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("close after the end: %v, after %v", err, time.Since(began))
		}
		if codeOf(c.Err()) != "ROLLED_BACK" {
			t.Errorf("after Close the client ended by %v", c.Err())
		}
	}
}

// After a restore indexes begin elsewhere: an index of the older epoch says nothing about the newer one.
func TestIndexesOfAnOlderEpochAreNotHeldAgainstANewOne(t *testing.T) {
	town := newTown(t, "n1:1")
	c := town.open(t, town.config("a"))
	town.Skip(100)
	store := clienttest.Store(t, c, "players", player{})
	if _, err := store.Send(t.Context(), "ann", "hello"); err != nil { // and is told an index above 100
		t.Fatal(err)
	}
	registered := make(chan *profilev1.RegisterRequest, 8)
	renewed := make(chan uint64, 64)
	town.Set(func() {
		town.Before = func(_, _ string, request proto.Message) error {
			switch q := request.(type) {
			case *profilev1.RegisterRequest:
				registered <- proto.Clone(q).(*profilev1.RegisterRequest)
			case *profilev1.Renewal:
				if q.Binding == lock.Binding(servertest.ID, 2) {
					select {
					case renewed <- q.Seen:
					default:
					}
				}
			}
			return nil
		}
	})
	town.Lead("")    // no node answers between the two
	town.RollBack(2) // what was restored is older than the game server
	town.BeginEpoch()
	town.Lead("n1:1")
	q := <-registered
	if q.SeenEpoch != 1 || q.Seen < 100 {
		t.Errorf("the registration says that %d was told in epoch %d", q.Seen, q.SeenEpoch)
	}
	if seen := <-renewed; seen >= 100 {
		t.Errorf("a renewal of the new epoch says that %d was told", seen)
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// Close ends a client too, and Done says so.
func TestAClosedClientIsDone(t *testing.T) {
	town := newTown(t, "n1:1")
	c := town.open(t, town.config("a"))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	default:
		t.Error("a closed client is not done")
	}
	if c.Err() != client.ErrClosed {
		t.Errorf("a closed client ended by %v", c.Err())
	}
}
