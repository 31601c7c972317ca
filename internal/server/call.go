package server

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// proposeChange puts a caller's request through the log, once. The result is OK or queued; everything else is a status.
func (s *Server) proposeChange(ctx context.Context, q *profilev1.Request, act any) (fsm.Result, error) {
	result, err := s.node.Propose(ctx, fsm.NewCommand(requestFromWire(q), act))
	if err != nil {
		return fsm.Result{}, s.refusals.proposeError(q.GetNumber(), err)
	}
	if result.Code == fsm.Fenced {
		return result, s.fencedError(q.GetNumber(), result, act)
	}
	return result, s.refusals.refusedResult(q.GetNumber(), result)
}

// fencedError is the status of a command under a token that is not in force. For one of a session it says, as far as the
// tables hold it, why and for whom that session has ended: its owner may not have heard of it.
func (s *Server) fencedError(number uint64, result fsm.Result, act any) error {
	refusal := s.refusals.refusalOf(number, result)
	if q, ok := act.(interface {
		GetStore() string
		GetKey() string
		GetToken() uint64
	}); ok {
		addEndOfSession(s.node, refusal, q.GetStore(), q.GetKey(), lock.Token(q.GetToken()))
	}
	return refusalError(refusal, "")
}

// addEndOfSession adds to a refusal why and for whom the session with a token has ended, as far as the tables hold it.
func addEndOfSession(node Node, refusal *profilev1.Refusal, store, key string, token lock.Token) {
	view, err := node.View()
	if err != nil {
		return
	}
	defer func() { _ = view.Close() }()
	grant, err := view.Grant(store, key)
	if err != nil || grant.Token < token { // no grant has that token yet
		return
	}
	refusal.Owner = successorIn(view, grant, token)
	if grant.Token == token && grant.Revoked {
		refusal.Cause = profilev1.Cause(grant.Cause)
	}
}

func requestFromWire(q *profilev1.Request) *fsm.Request {
	return &fsm.Request{Incarnation: q.GetIncarnation(), Number: q.GetNumber(), Settled: q.GetSettled(), Hash: q.GetHash(), Registration: q.GetRegistration()}
}

// replyHeader is the header of the reply to a change.
func replyHeader(q *profilev1.Request, result fsm.Result) *profilev1.ReplyHeader {
	return &profilev1.ReplyHeader{
		Number: q.GetNumber(), Revision: result.Revision, Token: uint64(result.Token), Index: result.Index, Repeated: result.Repeated,
	}
}

// boundCall gives every call an end: a caller without a deadline must not hold a place here without bound.
func (s *Server) boundCall(ctx context.Context, in any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Call)
	defer cancel()
	_, conn := peerOf(ctx)
	defer conn.beginCall(isOfRegistered(in))()
	ctx, room := s.withReplyBudget(ctx)
	handedOver := false
	defer func() {
		if !handedOver { // an error, or a panic
			room.releaseAll()
		}
	}()
	out, err := handle(ctx, in)
	if err != nil {
		return nil, err
	}
	handedOver = true
	return room.attachTo(out), nil
}

// boundStream ends the streams of gRPC's own services, such as a watch of the health service, when Close begins. Live
// says goodbye first and ends by itself.
func (s *Server) boundStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	live := info.FullMethod == profilev1.Profiles_Live_FullMethodName
	_, conn := peerOf(stream.Context())
	defer conn.beginCall(live)()
	if live {
		return handle(server, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	return handle(server, boundedStream{stream, ctx})
}

// isOfRegistered says whether a request comes from a client that has registered, or registers now.
func isOfRegistered(in any) bool {
	switch request := in.(type) {
	case *profilev1.RegisterRequest, *profilev1.Renewal:
		return true
	case interface{ GetRequest() *profilev1.Request }:
		return request.GetRequest().GetIncarnation() != 0
	}
	return false
}

type boundedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (b boundedStream) Context() context.Context { return b.ctx }

// recoverCall answers a call that met a fault. The outcome of its proposals is unknown.
func (s *Server) recoverCall(ctx context.Context, in any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (out any, err error) {
	fault := s.runRecovered(info.FullMethod, func() error {
		out, err = handle(ctx, in)
		return nil
	})
	if fault != nil {
		return nil, s.refusals.readError(fault)
	}
	return out, err
}

func (s *Server) recoverStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	fault := s.runRecovered(info.FullMethod, func() error {
		err = handle(server, stream)
		return nil
	})
	if fault != nil {
		return s.refusals.readError(fault)
	}
	return err
}

// runRecovered keeps a fault of this package, or one that a request found in another, from ending the node. Every goroutine
// that works for a caller goes through it, since a panic ends the process from each.
func (s *Server) runRecovered(act string, f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("a call panicked", "act", act, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: %w: it panicked", act, cluster.ErrFailed)
		}
	}()
	return f()
}
