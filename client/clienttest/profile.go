package clienttest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/clienthooks"
)

// Profile is a profile with a session and this data, without any cluster: for tests of game logic that is given a profile.
// It behaves as one that no other game server wants. Saves succeed and count revisions, but the saved data cannot be loaded.
func Profile[T any](t testing.TB, data T, options ...client.StoreOption) *client.Profile[T] {
	t.Helper()
	config := client.Config{Seeds: []string{nodeAddress}, Name: "test", Insecure: true, NoPing: true}
	clienthooks.Of(&config).Answer = answerAlone
	c, err := client.Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var template T
	store, err := client.NewStore(c, "test", template, options...)
	if err != nil { // the zero value of T is no template, as of a map
		store = Store(t, c, "test", data, options...)
	}
	p, err := store.StartSession(context.Background(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Update(func(d *T) { *d = data }); err != nil {
		t.Fatal(err)
	}
	return p
}

// answerAlone is a cluster with one profile and one game server.
func answerAlone(_ string, request, answer proto.Message) error {
	forever := (100 * 365 * 24 * time.Hour).Milliseconds()
	switch q := request.(type) {
	case *profilev1.RegisterRequest:
		proto.Merge(answer, &profilev1.RegisterResponse{
			Incarnation: 1, Cluster: []byte("clienttest"), Epoch: 1, Binding: 1, Level: 1,
			Timing: &profilev1.Timing{RenewMs: 1000, DoubtMs: forever, EvidenceMs: 2 * forever, LeaseMs: 2 * forever, HandOffMs: 10000},
		})
	case *profilev1.StartSessionRequest:
		proto.Merge(answer, &profilev1.StartSessionResponse{
			Header: &profilev1.ReplyHeader{Token: 1}, Profile: &profilev1.Profile{Store: q.Store, Key: q.Key}, LoadCount: 1,
		})
	case *profilev1.SaveRequest:
		proto.Merge(answer, &profilev1.SaveResponse{Header: &profilev1.ReplyHeader{Token: q.Token, Revision: q.Base + 1}})
	case *profilev1.ReleaseRequest, *profilev1.EndServerRequest, *profilev1.MessagesRequest, *profilev1.SettleRequest:
		// The empty answer says that it is done, or that there is nothing.
	default:
		return status.Error(codes.Unimplemented, "clienttest.Profile has no cluster: use Start or Shared")
	}
	return nil
}
