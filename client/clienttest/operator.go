package clienttest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
)

// Release has the effect of an operator's `profilenode release`: it asks the owner of a profile to let go, or with force
// takes the profile from it. It does not wait until the owner has let go.
func (c *Cluster) Release(ctx context.Context, store, key string, force bool) error {
	store = c.prefix + store
	conn, err := grpc.NewClient("passthrough:///"+nodeAddress, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return c.host("operator").Dial(ctx, "tcp", nodeAddress)
		}))
	if err != nil {
		return fmt.Errorf("release %s/%s: %w", store, key, err)
	}
	defer conn.Close()
	profiles := profilev1.NewProfilesClient(conn)
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	registered, err := profiles.Register(ctx, &profilev1.RegisterRequest{
		Name: fmt.Sprintf("operator-%x", nonce[:6]), Kind: profilev1.ServerKind_SERVER_KIND_TOOL, Nonce: nonce,
	})
	if err != nil {
		return fmt.Errorf("release %s/%s: %w", store, key, err)
	}
	request := func(number uint64) *profilev1.Request {
		return &profilev1.Request{
			Incarnation: registered.GetIncarnation(), Number: number, Settled: number - 1, Hash: number,
			Binding: registered.GetBinding(), Registration: lock.Registration(nonce),
		}
	}
	defer func() { _, _ = profiles.EndServer(ctx, &profilev1.EndServerRequest{Request: request(2)}) }() // or the lease ends it
	current, err := profiles.Get(ctx, &profilev1.GetRequest{Store: store, Key: key, WithoutData: true, Binding: registered.GetBinding()})
	if err != nil {
		return fmt.Errorf("release %s/%s: %w", store, key, err)
	}
	_, err = profilev1.NewClusterClient(conn).ReleaseByOperator(ctx, &profilev1.ReleaseByOperatorRequest{
		Request: request(1), Store: store, Key: key, Token: max(current.GetHeader().GetToken(), 1), Force: force, Reason: "clienttest",
	})
	if err != nil {
		return fmt.Errorf("release %s/%s: %w", store, key, err)
	}
	return nil
}
