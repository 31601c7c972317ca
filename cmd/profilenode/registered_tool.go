package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// goodbyeLimit bounds the goodbye of a tool. When it is lost the lease ends the tool's incarnation as well.
const goodbyeLimit = time.Second

// settleLimit bounds the settling of a change after the command's own time has run out.
const settleLimit = 3 * time.Second

// maxWhere is how much a registration may say of where it comes from, in bytes.
const maxWhere = 256

// registeredTool is the registration of one command: a command that changes anything registers first, so that a retry is
// answered and not repeated.
type registeredTool struct {
	conn         *clusterConn
	incarnation  uint64
	binding      uint64     // of its cluster and epoch
	registration uint64     // the head of its nonce
	number       uint64     // of the latest request; requests come one after the other, so all before it are settled
	settled      *pb.Stands // of the latest change, if its own answer was lost and its number was settled: it happened
}

// withRegisteredTool registers, lets f make its changes and says goodbye.
func withRegisteredTool(ctx context.Context, c *clusterConn, f func(*registeredTool) error) error {
	random := make([]byte, 16+6)
	_, _ = rand.Read(random) // never fails
	request := &pb.RegisterRequest{
		Name:  "tool-" + hex.EncodeToString(random[16:]),
		Kind:  pb.ServerKind_SERVER_KIND_TOOL,
		Nonce: random[:16],
		Where: userAndHost(),
	}
	request.Cluster, request.Epoch = c.binder.Cluster() // it changes the same cluster that it read from
	var reply *pb.RegisterResponse
	if err := c.tryNodes(ctx, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		reply, err = pb.NewProfilesClient(cc).Register(ctx, request)
		return err
	}); err != nil {
		return err
	}
	t := &registeredTool{
		conn: c, incarnation: reply.GetIncarnation(),
		binding: reply.GetBinding(), registration: binary.BigEndian.Uint64(request.GetNonce()),
	}
	c.binder.Learn(reply)
	err := f(t)
	t.endRegistration(ctx)
	var unsure *unknownOutcomeError
	if errors.As(err, &unsure) {
		return &hintedError{unsure, "it may have happened: look before you try again"}
	}
	return err
}

// userAndHost is user@host, as this machine reports it; the audit tells people apart by it.
func userAndHost() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := "unknown"
	if who, err := user.Current(); err == nil {
		name = who.Username
	}
	where := name + "@" + host
	return strings.ToValidUTF8(where[:min(len(where), maxWhere)], "")
}

// changeOnce registers, makes one change and says goodbye. ask sends message.
func changeOnce(ctx context.Context, c *clusterConn, message proto.Message, ask func(context.Context, *grpc.ClientConn) error) error {
	return withRegisteredTool(ctx, c, func(t *registeredTool) error { return t.changeAndSettle(ctx, message, ask) })
}

// changeAndSettle sends one change until it is answered. It writes into message, which ask sends, the registration and the
// number.
func (t *registeredTool) changeAndSettle(ctx context.Context, message proto.Message, ask func(context.Context, *grpc.ClientConn) error) error {
	hash, err := hashMessage(message)
	if err != nil {
		return err
	}
	settled := t.number
	t.number++
	t.settled = nil
	request := &pb.Request{
		Incarnation: t.incarnation, Number: t.number, Settled: settled, Hash: hash, Binding: t.binding, Registration: t.registration,
	}
	fields := message.ProtoReflect()
	fields.Set(fields.Descriptor().Fields().ByName("request"), protoreflect.ValueOfMessage(request.ProtoReflect()))
	err = t.conn.tryNodes(ctx, ask)
	var unsure *unknownOutcomeError
	if errors.As(err, &unsure) {
		return t.settleLost(ctx, request, err)
	}
	return err
}

// settleLost settles the latest change after its answer was lost, also after ctx has ended. From there on it has
// happened, or it never will.
func (t *registeredTool) settleLost(ctx context.Context, request *pb.Request, lost error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	var reply *pb.SettleResponse
	if err := t.conn.tryNodes(ctx, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		reply, err = pb.NewProfilesClient(cc).Settle(ctx, &pb.SettleRequest{Request: request})
		return err
	}); err != nil {
		return lost
	}
	switch reply.GetReason() {
	case pb.Reason_REASON_UNSPECIFIED:
		t.settled = reply.GetStands()
		return nil
	case pb.Reason_REASON_BURNED:
		return &hintedError{errors.New("it did not happen, and will not any more: no node could answer in time"), "profilenode status shows every node; then try again"}
	}
	return fmt.Errorf("it did not happen: the cluster refused it with %s", wire.Code(reply.GetReason()))
}

// endRegistration ends the incarnation, also after ctx has ended: the outcome of its unanswered requests is then final.
func (t *registeredTool) endRegistration(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeLimit)
	defer cancel()
	request := &pb.EndServerRequest{}
	_ = t.changeAndSettle(ctx, request,
		func(ctx context.Context, cc *grpc.ClientConn) error {
			_, err := pb.NewProfilesClient(cc).EndServer(ctx, request)
			return err
		})
}

// hashMessage identifies the request, so that a number used for two requests is noticed. Zero means absent on the wire.
func hashMessage(message proto.Message) (uint64, error) {
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return 0, err
	}
	sum := xxhash.New()
	_, _ = sum.WriteString(string(message.ProtoReflect().Descriptor().FullName()))
	_, _ = sum.Write(bytes) // never fails
	return max(sum.Sum64(), 1), nil
}
