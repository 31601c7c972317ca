package server

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"google.golang.org/grpc"
)

// proposeChange puts a caller's request through the log, once. The result is OK or queued; everything else is a status.
func (s *Server) proposeChange(ctx context.Context, q *profilev1.Request, act any) (fsm.Result, error) {
	result, err := s.node.Propose(ctx, fsm.NewCommand(requestFromWire(q), act))
	if err != nil {
		return fsm.Result{}, s.refusals.proposeError(q.GetNumber(), err)
	}
	return result, s.refusals.refusedResult(q.GetNumber(), result)
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
	if info.FullMethod == profilev1.Profiles_Live_FullMethodName {
		return handle(server, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	return handle(server, boundedStream{stream, ctx})
}

type boundedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (b boundedStream) Context() context.Context { return b.ctx }

// recoverCall answers a call that met a fault. What it had proposed by then is unknown.
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
