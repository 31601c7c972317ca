package client_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/clienthooks"
	"github.com/profilenode/profilenode/internal/server/servertest"
)

// foreignSeed makes one address of the town a node that refuses everything but a registration as meant for another cluster
// or epoch, settling a number included, and loses the answer to the first save.
func foreignSeed(town *town, addr string, refusal *profilev1.Refusal) {
	lost := false
	town.Set(func() {
		town.Before = func(node, _ string, _ proto.Message) error {
			if node == addr {
				return refuse(refusal)
			}
			return nil
		}
		town.After = func(_, method string, _ proto.Message) error {
			if method == "Save" && !lost {
				lost = true
				return status.Error(codes.Unavailable, "the answer is lost")
			}
			return nil
		}
	})
}

// A copy of a save is in the log, and its answer is lost. The retry comes to a node that is of another cluster, or lags in
// an earlier epoch: its refusal says nothing about the save, and ends nothing.
func TestAWrongSeedsRefusalIsNotTakenForTheRequests(t *testing.T) {
	for name, refusal := range map[string]*profilev1.Refusal{
		"another cluster":                      {Reason: profilev1.Reason_REASON_OTHER_CLUSTER, Cluster: []byte("village"), Epoch: 9},
		"an earlier epoch":                     {Reason: profilev1.Reason_REASON_OTHER_CLUSTER, Cluster: servertest.ID, Epoch: 1},
		"another registration, from its log":   {Reason: profilev1.Reason_REASON_OTHER_REGISTRATION, Cluster: []byte("village"), Epoch: 9, Index: 77},
		"another cluster, from its log":        {Reason: profilev1.Reason_REASON_OTHER_CLUSTER, Cluster: []byte("village"), Epoch: 9, Index: 77},
		"fields that an older node lacks":      {Reason: profilev1.Reason_REASON_UNKNOWN_FIELDS},
		"another cluster that does not say so": {Reason: profilev1.Reason_REASON_OTHER_CLUSTER},
	} {
		t.Run(name, func(t *testing.T) {
			town := newTown(t, "a:1", "b:1")
			town.Restore()
			store := clienttest.Store(t, town.open(t, town.config("a")), "players", player{})
			p, err := store.StartSession(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			foreignSeed(town, "b:1", refusal)
			if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
				t.Fatal(err)
			}
			if err := p.Save(t.Context()); err != nil {
				t.Errorf("save: %v", err)
			}
			if !p.IsActive() {
				t.Errorf("the session is %v", p.Err())
			}
			if _, err := store.Get(t.Context(), "ann"); err != nil {
				t.Errorf("get: %v", err)
			}
			if got := town.ann().Revision; got != 1 {
				t.Errorf("the save landed %d times", got)
			}
		})
	}
}

// After a restore every incarnation has ended: the sessions are over at once, the game server registers again, and requests
// that belong to no session go on under the new registration.
func TestALaterEpochEndsTheSessions(t *testing.T) {
	town, store, p := playing(t, "a:1")
	town.Restore()
	if err := p.Update(func(d *player) { d.Coins = 7 }); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(t.Context()); !errors.Is(err, client.ErrSessionOver) {
		t.Errorf("save: %v, want %v", err, client.ErrSessionOver)
	}
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the session is not over")
	}
	if _, err := store.Send(t.Context(), "bob", "hello"); err != nil {
		t.Errorf("send after the restore: %v", err)
	}
	if _, err := store.StartSession(t.Context(), "ann"); err != nil {
		t.Errorf("a session after the restore: %v", err)
	}
}

// The same when the incarnation had been taken for dead before the restore: a grant of an older epoch is not reclaimed.
func TestALaterEpochEndsTheSessionsOfAnEndedIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town, store, p := playing(t, "a:1")
		register := make(chan struct{})
		town.Set(func() {
			town.Before = func(_, method string, _ proto.Message) error {
				if method == "Register" {
					<-register
				}
				return nil
			}
		})
		town.Expire(town.Alive("a"))
		until(t, "doubt", func() bool { return p.State() == client.StateInDoubt })
		town.Restore()
		close(register)
		until(t, "the session to be over", func() bool { return p.State() == client.StateOver })
		if end := endOf(p); end.Reason != client.EndOtherCluster {
			t.Errorf("the session ended as %v, want %v", end.Reason, client.EndOtherCluster)
		}
		if n := town.Count("Reclaim"); n != 0 {
			t.Errorf("%d reclaims, want none", n)
		}
		if _, err := store.StartSession(t.Context(), "ann"); err != nil {
			t.Errorf("a session after the restore: %v", err)
		}
	})
}

// A feature that the cluster has not announced is refused here and never sent; a renewal that announces it is enough.
func TestNothingIsSentThatTheClusterCannotDo(t *testing.T) {
	town := newTown(t, "a:1")
	config := town.config("a")
	clienthooks.Of(&config).Fields = profilev1.FieldFeatures{"profilenode.v1.SendRequest.body": servertest.Feature}
	store := clienttest.Store(t, town.open(t, config), "players", player{})
	_, err := store.Send(t.Context(), "bob", "hello")
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Code != "UNSUPPORTED" || !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("send: %v, want UNSUPPORTED", err)
	}
	if town.Count("Send") != 0 {
		t.Error("it was sent")
	}
	town.RaiseLevel()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err = store.Send(t.Context(), "bob", "hello"); err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("send once it is announced: %v", err)
		}
	}
}
