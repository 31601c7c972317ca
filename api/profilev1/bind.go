package profilev1

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Binder binds the reads of a caller that does not register, such as a command, to one cluster: that of the node which
// answers it first. What it reads then all comes from there, whatever other addresses it was given. Its zero value knows
// no cluster yet.
type Binder struct {
	mu      sync.Mutex
	cluster []byte
	epoch   uint64
	binding uint64
}

// Learn takes cluster, epoch and binding as RegisterResponse or StatusResponse state them, unless others are known already.
func (b *Binder) Learn(from interface {
	GetCluster() []byte
	GetEpoch() uint64
	GetBinding() uint64
}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.binding == 0 && from.GetBinding() != 0 {
		b.cluster, b.epoch, b.binding = from.GetCluster(), from.GetEpoch(), from.GetBinding()
	}
}

// Cluster is the cluster and epoch that reads are bound to, for a registration that must be with the same; empty and 0 if
// none is known yet.
func (b *Binder) Cluster() (id []byte, epoch uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cluster, b.epoch
}

func (b *Binder) known() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.binding
}

// Bind is a client's interceptor that writes the binding into every read which has none. The first one asks the node for
// its status before.
func (b *Binder) Bind(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	read, ok := in.(interface {
		proto.Message
		GetBinding() uint64
	})
	if !ok || read.GetBinding() != 0 {
		return invoke(ctx, method, in, out, conn, options...)
	}
	if b.known() == 0 {
		var answer StatusResponse
		if err := invoke(ctx, Cluster_Status_FullMethodName, &StatusRequest{}, &answer, conn); err != nil {
			return err
		}
		if b.Learn(&answer); b.known() == 0 {
			return inNoCluster(answer.GetId())
		}
	}
	message := read.ProtoReflect()
	message.Set(message.Descriptor().Fields().ByName("binding"), protoreflect.ValueOfUint64(b.known()))
	return invoke(ctx, method, in, out, conn, options...)
}

// inNoCluster is what such a node would answer itself.
func inNoCluster(id string) error {
	refusal, err := status.New(codes.Unavailable, fmt.Sprintf("node %s is in no cluster yet: ask another node", id)).
		WithDetails(&Refusal{Reason: Reason_REASON_NOT_LEADER})
	if err != nil {
		return err
	}
	return refusal.Err()
}
