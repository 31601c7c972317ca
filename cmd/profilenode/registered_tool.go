package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
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
	*wire.Registration
	conn    *clusterConn
	settled *pb.ReplyHeader // of the latest change, if its own answer was lost and its number was settled: it happened
}

// withRegisteredTool registers, lets f make its changes and says goodbye.
func withRegisteredTool(ctx context.Context, c *clusterConn, f func(*registeredTool) error) error {
	suffix := make([]byte, 6)
	_, _ = rand.Read(suffix) // never fails
	request := &pb.RegisterRequest{
		Name:  "tool-" + hex.EncodeToString(suffix),
		Kind:  pb.ServerKind_SERVER_KIND_TOOL,
		Where: userAndHost(),
	}
	request.Cluster, request.Epoch = c.binder.Cluster() // it changes the same cluster that it read from
	registration, reply, err := c.nodes.Register(ctx, request)
	if err != nil {
		return c.explainCall(ctx, err)
	}
	c.binder.Learn(reply)
	t := &registeredTool{Registration: registration, conn: c}
	err = f(t)
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

// numberedRequest is a request that has a request header.
type numberedRequest interface {
	proto.Message
	GetRequest() *pb.Request
}

// changeOnce registers, makes one change and says goodbye.
func changeOnce(ctx context.Context, c *clusterConn, method string, request numberedRequest, reply proto.Message) error {
	return withRegisteredTool(ctx, c, func(t *registeredTool) error { return t.changeAndSettle(ctx, method, request, reply) })
}

// changeAndSettle sends one change until it is answered, and settles its number when the answer is lost.
func (t *registeredTool) changeAndSettle(ctx context.Context, method string, request numberedRequest, reply proto.Message) error {
	t.settled = nil
	err := t.conn.explainCall(ctx, t.Change(ctx, method, request, reply))
	var unsure *unknownOutcomeError
	if errors.As(err, &unsure) {
		return t.settleLost(ctx, request, err)
	}
	return err
}

// settleLost settles the latest change after its answer was lost, also after ctx has ended. From there on it has
// happened, or it never will.
func (t *registeredTool) settleLost(ctx context.Context, request numberedRequest, lost error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	reply, err := t.Settle(ctx, request)
	if err != nil {
		return lost
	}
	switch reply.GetReason() {
	case pb.Reason_REASON_UNSPECIFIED:
		t.settled = reply.GetHeader()
		return nil
	case pb.Reason_REASON_GIVEN_UP:
		return &hintedError{errors.New("it did not happen, and will not any more: no node could answer in time"), "profilenode status shows every node; then try again"}
	}
	return fmt.Errorf("it did not happen: the cluster refused it with %s", wire.Code(reply.GetReason()))
}

// endRegistration ends the incarnation, also after ctx has ended.
func (t *registeredTool) endRegistration(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeLimit)
	defer cancel()
	_ = t.End(ctx) // when it is lost the lease ends the incarnation
}
