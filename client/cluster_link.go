package client

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// clusterLink carries this client's requests to the cluster, and keeps what its answers tell: leader, addresses, cluster,
// features. Its fields lock themselves.
type clusterLink struct {
	c        *Client
	nodes    *nodeSet
	cluster  atomic.Pointer[knownCluster] // of the last registration
	features atomic.Pointer[[]string]     // that the cluster announced last; nil: none
	told     atomic.Pointer[toldIndex]
}

// sendOnce sends one copy of a request to one node. Unless sent, none has left this process.
func (k *clusterLink) sendOnce(ctx context.Context, addr, method string, request, answer proto.Message) (sent bool, refusal *profilev1.Refusal, err error) {
	c := k.c
	if answerHere := c.config.hooks.Answer; answerHere != nil {
		proto.Reset(answer)
		err := answerHere(method, request, answer)
		return true, wire.RefusalIn(err), err
	}
	told := k.told.Load()
	a := k.nodes.SendCopy(ctx, addr, method, request, answer)
	if a.Sent {
		told.noteHeader(answer)
	}
	if a.Sent && a.Refusal == nil && status.Code(a.Err) == codes.Unimplemented {
		a.Refusal = &profilev1.Refusal{Reason: profilev1.Reason_REASON_UNSUPPORTED}
	}
	if a.Err == nil || ctx.Err() == nil { // a caller that gave up says nothing of the node
		k.noteAnswer(addr, a.Link, a.Refusal, a.Err)
	}
	if isBindingRefusal(a.Refusal) && k.nodes.isFirstForeignRefusal(addr) {
		c.config.Log.Warn("a node refuses this client's requests, and others are asked", "node", addr, "error", a.Err)
	}
	return a.Sent, a.Refusal, a.Err
}

// readUntilAnswered sends a read until it is answered. stale reads go to any node.
func (k *clusterLink) readUntilAnswered(ctx context.Context, act string, ref Ref, method string, request, answer proto.Message, stale bool) error {
	c := k.c
	if err := checkText(act, ref, ""); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.notSentError(ctx, act, ref)
	}
	if err := k.checkFeatures(act, ref, request); err != nil {
		return err
	}
	var pace wire.Pace
	for {
		k.bindRead(request)
		target := k.nodes.NodeToAsk()
		if stale {
			target = k.nodes.AnyNode()
		}
		_, refusal, err := k.sendOnce(ctx, target, method, request, answer)
		if err == nil {
			return nil
		}
		if refusal != nil && wire.MeaningOf(refusal.Reason).Retry == wire.Never {
			return refusalError(act, ref, refusal, status.Convert(err).Message())
		}
		if c.life.ctx.Err() != nil || !pace.WaitForRetry(ctx, nil, refusal) {
			return c.notSentError(ctx, act, ref)
		}
	}
}

// lookUpOwner reads which game server owns a profile.
func (k *clusterLink) lookUpOwner(ctx context.Context, act string, ref Ref) (*profilev1.GetResponse, error) {
	got := &profilev1.GetResponse{}
	err := k.readUntilAnswered(ctx, act, ref, profilev1.Profiles_Get_FullMethodName,
		&profilev1.GetRequest{Store: ref.Store, Key: ref.Key, WithoutData: true}, got, false)
	return got, err
}
