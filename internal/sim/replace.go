package sim

import (
	"context"

	"google.golang.org/grpc"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
)

// namesBefore is counted among the faults of a run.
const namesBefore = "a game server that is started again names the incarnation before"

// registration is kept by a process, say in a file, to name its incarnation when it is started again.
type registration struct {
	incarnation uint64
	secret      uint64 // the registration's bits of its nonce
	cluster     []byte
}

// replaceBefore makes a process keep its registrations, and its first one name the last of the process before it, which is
// dead. The Go client names none; a client that keeps it in a file does.
func (s *Server) replaceBefore(before *Server) grpc.UnaryClientInterceptor {
	var was registration
	if before != nil {
		before.mu.Lock()
		was = before.was
		before.mu.Unlock()
	}
	return func(
		ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		q, ok := in.(*profilev1.RegisterRequest)
		if !ok {
			return invoke(ctx, method, in, out, conn, options...)
		}
		if q.Replaces == 0 && was.incarnation != 0 {
			q.Replaces, q.ReplacedRegistration, q.Cluster = was.incarnation, was.secret, was.cluster
		}
		err := invoke(ctx, method, in, out, conn, options...)
		if r := out.(*profilev1.RegisterResponse); err == nil {
			s.mu.Lock()
			s.was = registration{incarnation: r.Incarnation, secret: lock.Registration(q.Nonce), cluster: r.Cluster}
			s.mu.Unlock()
			if q.ReplacedRegistration != 0 {
				s.world.mu.Lock()
				s.world.struck[namesBefore]++
				s.world.mu.Unlock()
			}
		}
		return err
	}
}
