package ended

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

const (
	atOnce    = 64
	tellEvery = 20_000
	unlimited = 100_000 // registrations a second
)

// callers are what calls the nodes.
type callers struct{ nodes *wire.Nodes }

func newCallers(addresses []string) *callers {
	return &callers{wire.NewNodes(wire.NodesConfig{Seeds: addresses, LinkConfig: wire.BoundLinks()})}
}

func (c *callers) close() { c.nodes.Close() }

func (c *callers) register(ctx context.Context, name string, kind profilev1.ServerKind) (*wire.Registration, *profilev1.RegisterResponse, error) {
	return c.nodes.Register(ctx, &profilev1.RegisterRequest{Name: name, Kind: kind})
}

// registerAndEnd registers so many tools and ends each.
func (c *callers) registerAndEnd(ctx context.Context, count int, notes io.Writer) error {
	operator, _, err := c.register(ctx, "operator", profilev1.ServerKind_SERVER_KIND_TOOL)
	if err != nil {
		return err
	}
	policy := &profilev1.SetPolicyRequest{Name: "registrations_per_second", Value: unlimited}
	if err := operator.Change(ctx, profilev1.Cluster_SetPolicy_FullMethodName, policy, &profilev1.SetPolicyResponse{}); err != nil {
		return err
	}
	calling, ctx := errgroup.WithContext(ctx)
	var begun, done atomic.Int64
	for range atOnce {
		calling.Go(func() error {
			for ctx.Err() == nil {
				n := begun.Add(1)
				if n > int64(count) {
					return nil
				}
				tool, _, err := c.register(ctx, fmt.Sprintf("tool-%d", n), profilev1.ServerKind_SERVER_KIND_TOOL)
				if err != nil {
					return err
				}
				if err := tool.End(ctx); err != nil {
					return err
				}
				if n := done.Add(1); n%tellEvery == 0 {
					fmt.Fprintf(notes, "%d of %d calls have ended\n", n, count)
				}
			}
			return ctx.Err()
		})
	}
	return calling.Wait()
}

// fallSilent lets a game server own a profile and fall silent, and returns how long after that another one is given the profile.
func (c *callers) fallSilent(ctx context.Context) (time.Duration, error) {
	silent, _, err := c.register(ctx, "silent", profilev1.ServerKind_SERVER_KIND_GAME_SERVER)
	if err != nil {
		return 0, err
	}
	start := func(r *wire.Registration) error {
		request := &profilev1.StartSessionRequest{Store: "bench", Key: "profile", WhenOwned: profilev1.WhenOwned_WHEN_OWNED_REFUSE}
		return r.Change(ctx, profilev1.Profiles_StartSession_FullMethodName, request, &profilev1.StartSessionResponse{})
	}
	if err := start(silent); err != nil {
		return 0, err
	}
	began := time.Now() // the request was its last sign of life
	next, _, err := c.register(ctx, "next", profilev1.ServerKind_SERVER_KIND_TOOL)
	if err != nil {
		return 0, err
	}
	renewal := &profilev1.Renewal{Incarnation: next.Incarnation, Binding: next.Binding, Registration: next.Identity.Registration}
	for ctx.Err() == nil {
		if err := c.nodes.Call(ctx, profilev1.Profiles_Renew_FullMethodName, renewal, &profilev1.Renewed{}); err != nil {
			return 0, err
		}
		err := start(next)
		if err == nil {
			return time.Since(began), nil
		}
		if reason := wire.RefusalIn(err).GetReason(); reason != profilev1.Reason_REASON_OWNED {
			return 0, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0, ctx.Err()
}
