package server_test

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
)

// stamps writes binding and registration into whatever a test sends without, as every client does. A test of these two
// sends its own.
type stamps struct {
	binding uint64

	mu            sync.Mutex
	registrations map[uint64]uint64 // by incarnation
}

func newStamps(cluster []byte, epoch uint64) *stamps {
	return &stamps{binding: lock.Binding(cluster, epoch), registrations: map[uint64]uint64{}}
}

func (s *stamps) registration(incarnation uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if registration, ok := s.registrations[incarnation]; ok {
		return registration
	}
	return 1 // of an incarnation that nobody here registered
}

// stamped is the message, or a copy of it that has what it lacks.
func (s *stamps) stamped(in any) any {
	switch q := in.(type) {
	case interface{ GetRequest() *profilev1.Request }:
		asks := q.GetRequest()
		if asks == nil || asks.Binding != 0 || asks.Registration != 0 {
			return in
		}
		copied := proto.Clone(in.(proto.Message))
		asks = copied.(interface{ GetRequest() *profilev1.Request }).GetRequest()
		asks.Binding, asks.Registration = s.binding, s.registration(asks.Incarnation)
		return copied
	case *profilev1.Renewal:
		if q.Binding != 0 || q.Registration != 0 {
			return in
		}
		copied := proto.CloneOf(q)
		copied.Binding, copied.Registration = s.binding, s.registration(q.Incarnation)
		return copied
	case interface {
		proto.Message
		GetBinding() uint64
	}:
		if q.GetBinding() != 0 {
			return in
		}
		copied := proto.Clone(q).ProtoReflect()
		copied.Set(copied.Descriptor().Fields().ByName("binding"), protoreflect.ValueOfUint64(s.binding))
		return copied.Interface()
	}
	return in
}

func (s *stamps) call(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, s.stamped(in), out, conn, options...)
	if q, ok := in.(*profilev1.RegisterRequest); ok && err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.registrations[out.(*profilev1.RegisterResponse).Incarnation] = lock.Registration(q.Nonce)
	}
	return err
}

func (s *stamps) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, conn, method, options...)
	return stampedStream{stream, s}, err
}

type stampedStream struct {
	grpc.ClientStream
	stamps *stamps
}

func (s stampedStream) SendMsg(m any) error { return s.ClientStream.SendMsg(s.stamps.stamped(m)) }
