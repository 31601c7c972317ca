package clienttest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// Release has the effect of an operator's `profilenode release`: it asks the owner of a profile to let go, or with force
// takes the profile from it. It does not wait until the owner has let go.
func (c *Cluster) Release(ctx context.Context, store, key string, force bool) error {
	if err := c.releaseByOperator(ctx, c.prefix+store, key, force); err != nil {
		return fmt.Errorf("release %s/%s: %w", c.prefix+store, key, err)
	}
	return nil
}

func (c *Cluster) releaseByOperator(ctx context.Context, store, key string, force bool) error {
	host := c.host("operator")
	links := wire.BoundLinks()
	links.Dial = func(ctx context.Context, node string) (net.Conn, error) { return host.Dial(ctx, "tcp", node) }
	nodes := wire.NewNodes(wire.NodesConfig{Seeds: []string{nodeAddress}, LinkConfig: links})
	defer nodes.Close()
	tool, _, err := nodes.Register(ctx, &profilev1.RegisterRequest{Name: "operator-" + rand.Text(), Kind: profilev1.ServerKind_SERVER_KIND_TOOL})
	if err != nil {
		return err
	}
	defer func() { _ = tool.End(ctx) }() // or the lease ends it
	current := &profilev1.GetResponse{}
	if err := nodes.Call(ctx, profilev1.Profiles_Get_FullMethodName, &profilev1.GetRequest{Store: store, Key: key, WithoutData: true}, current); err != nil {
		return err
	}
	return tool.Change(ctx, profilev1.Cluster_ReleaseByOperator_FullMethodName, &profilev1.ReleaseByOperatorRequest{
		Store: store, Key: key, Token: max(current.GetHeader().GetToken(), 1), Force: force, Reason: "clienttest",
	}, &profilev1.ReleaseByOperatorResponse{})
}
