package client_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/client/clienttest"
	"github.com/profilenode/profilenode/internal/server/servertest"
)

// A new cluster was founded at the same addresses. No data of this game server can ever be stored again, so its client says
// so and ends, where it would try in doubt without end. One address that may still belong to the old cluster is enough to go
// on trying: it may be the cluster in an outage, beside a wrong address.
func TestAClientEndsWhenEveryAddressOfItsClusterIsAnotherClusters(t *testing.T) {
	another := &profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_CLUSTER, Cluster: []byte("village"), Epoch: 1}
	none := &profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_CLUSTER}
	earlier := &profilev1.Refusal{Reason: profilev1.Reason_REASON_OTHER_CLUSTER, Cluster: servertest.ID, Epoch: 0}
	for _, test := range []struct {
		name string
		last error // the answer of node c:1; a:1 and b:1 are of another cluster
		ends bool
	}{
		{"the last one is of another cluster too", refuse(another), true},
		{"the last one does not answer", status.Error(codes.Unavailable, "down"), false},
		{"the last one has no cluster yet", refuse(none), false},
		{"the last one lags in an earlier epoch", refuse(earlier), false},
		{"the last one looks for a leader", refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER}), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			town := newTown(t, "a:1", "b:1", "c:1")
			c := town.open(t, town.config("a"))
			store := clienttest.Store(t, c, "players", player{})
			p, err := store.StartSession(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			var asked [3]atomic.Int64
			town.Set(func() {
				town.Before = func(node, _ string, _ proto.Message) error {
					asked[strings.Index("abc", node[:1])].Add(1)
					if node == "c:1" {
						return test.last
					}
					return refuse(another)
				}
			})
			deadline := time.After(20 * time.Second)
			if test.ends {
				select {
				case <-c.Done():
				case <-deadline:
					t.Fatal("the client goes on")
				}
				if codeOf(c.Err()) != string(client.CodeOtherCluster) {
					t.Errorf("the client ended by %v", c.Err())
				}
				if end := endOf(p); end.Reason != client.EndOtherCluster {
					t.Errorf("the session ended by %v, want %v", end.Reason, client.EndOtherCluster)
				}
				return
			}
			look := time.NewTicker(10 * time.Millisecond)
			defer look.Stop()
			for asked[0].Load() < 3 || asked[1].Load() < 3 || asked[2].Load() < 3 {
				select {
				case <-c.Done():
					t.Fatalf("the client ended: %v", c.Err())
				case <-look.C:
				case <-deadline:
					t.Fatalf("the nodes were asked %d, %d and %d times", asked[0].Load(), asked[1].Load(), asked[2].Load())
				}
			}
			select {
			case <-c.Done():
				t.Errorf("the client ended: %v", c.Err())
			default:
			}
			if p.Err() != nil {
				t.Errorf("the session ended: %v", p.Err())
			}
		})
	}
}
