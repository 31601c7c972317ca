package server

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Every copy of a request is checked here before anything looks into it: that it was meant for this cluster and epoch, and
// that this build knows every field of it. Incarnations and tokens are positions in a log, so the ones of another cluster
// name something here as well. A refusal speaks for one copy only; the registration, which needs a row, is checked where
// the row is: in apply, and for renewals in renewals.go.

// checkCopy is the interceptor in front of every call but Live, whose renewals are checked in renewals.go.
func (s *Server) checkCopy(ctx context.Context, in any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := s.refuseCopy(in); err != nil {
		return nil, err
	}
	return handle(ctx, in)
}

func (s *Server) refuseCopy(in any) error {
	switch q := in.(type) {
	case *profilev1.StatusRequest: // a caller that does not register learns binding and features here
		return nil
	case *profilev1.RegisterRequest: // and one that does learns them there: unknown fields in either are ignored
		return s.checkCluster(q.GetCluster(), q.GetEpoch())
	case *profilev1.Renewal: // as the first one of a stream
		return s.checkBinding(0, q.GetBinding())
	case interface{ GetRequest() *profilev1.Request }:
		number := q.GetRequest().GetNumber()
		if err := s.checkBinding(number, q.GetRequest().GetBinding()); err != nil {
			return err
		}
		return s.checkFields(number, in)
	case interface{ GetBinding() uint64 }:
		if err := s.checkBinding(0, q.GetBinding()); err != nil {
			return err
		}
		return s.checkFields(0, in)
	}
	return nil // gRPC's own services
}

// checkBinding refuses a copy that was meant for another cluster or epoch.
func (s *Server) checkBinding(number, binding uint64) error {
	standing := s.node.Position()
	switch {
	case binding == 0:
		return checkFieldErrors(number, invalidField("the request has no binding, which says what cluster it is meant for: "+
			"take it from the answer of Register, or from Status, and send it with everything"))
	case len(standing.Cluster) == 0:
		return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Number: number, Leader: s.refusals.leaderHint()},
			"this node is in no cluster yet: go to another node with the same number")
	case binding != lock.Binding(standing.Cluster, standing.Epoch):
		return refuseOtherCluster(profilev1.Reason_REASON_OTHER_CLUSTER, number, standing)
	}
	return nil
}

// checkCluster is the same for a caller that names cluster and epoch, as far as it knows them.
func (s *Server) checkCluster(cluster []byte, epoch uint64) error {
	standing := s.node.Position()
	if len(standing.Cluster) == 0 { // it has no leader either, and proposes nothing
		return nil
	}
	if len(cluster) > 0 && !bytes.Equal(cluster, standing.Cluster) || epoch != 0 && epoch != standing.Epoch {
		return refuseOtherCluster(profilev1.Reason_REASON_OTHER_CLUSTER, 0, standing)
	}
	return nil
}

// refuseOtherCluster refuses a copy that comes from another cluster, epoch or registration, and says where it came.
func refuseOtherCluster(reason profilev1.Reason, number uint64, standing fsm.Position) error {
	return refusalError(&profilev1.Refusal{Reason: reason, Number: number, Cluster: standing.Cluster, Epoch: standing.Epoch}, "")
}

// checkFields refuses a copy that asks for something that this node would leave out.
func (s *Server) checkFields(number uint64, in any) error {
	request, ok := in.(proto.Message)
	if !ok {
		return nil
	}
	says := ""
	if field := profilev1.UnknownField(request); field != "" {
		says = field
	} else if field, feature := s.fields.Missing(request, s.features(s.node.Position().Level)); field != "" {
		says = fmt.Sprintf("field %s, which needs the feature %q", field, feature)
	}
	if says == "" {
		return nil
	}
	return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN_FIELDS, Number: number},
		"the request has "+says+", and this node cannot do what that asks for: ask a newer node, or ask without it")
}

// checkFirst checks the renewal that names a stream's incarnation.
func (s *Server) checkFirst(ctx context.Context, r *profilev1.Renewal) error {
	if err := s.checkBinding(0, r.GetBinding()); err != nil {
		return err
	}
	return s.checkRegistration(ctx, lock.Incarnation(r.GetIncarnation()), r.GetRegistration(), r.GetSeen())
}

// checkLater checks a later renewal of a stream.
func (s *Server) checkLater(server lock.Incarnation, known *streamState, r *profilev1.Renewal) error {
	if lock.Incarnation(r.GetIncarnation()) != server || r.GetRegistration() != known.registration {
		return checkFieldErrors(0, invalidField("the stream is of incarnation %d and the renewal of %d, or of another registration: open one stream for each", server, r.GetIncarnation()))
	}
	if err := s.checkBinding(0, r.GetBinding()); err != nil || !known.answered {
		return err
	}
	return s.checkFields(0, r)
}

// checkRegistration refuses a renewal of an incarnation that another process registered, as far as this node's tables know
// it: a row that is here says so however old the tables are. renewals.go asks once more after it has confirmed the lead.
func (s *Server) checkRegistration(ctx context.Context, server lock.Incarnation, registration, seen uint64) error {
	if registration == 0 {
		return checkFieldErrors(0, invalidField("the renewal has no registration: send the first eight bytes, big-endian, of the nonce that this process registered with"))
	}
	// Before the row: of a cluster that was rolled back it may be another process's by now, registered under the same number.
	if seen > s.node.LastIndex() {
		if _, err := s.node.ConfirmLeadership(ctx); err != nil {
			return s.refusals.readError(err)
		}
		if err := s.checkLogReaches(ctx, seen); err != nil {
			return s.unconfirmedAnswer(err)
		}
	}
	view, err := s.openSharedView()
	if err != nil {
		return nil // a node that cannot read cannot confirm the lead either, and says why
	}
	defer func() { _ = view.Close() }()
	who, ok, err := view.Server(server)
	if err == nil && ok && lock.Registration(who.Nonce) != registration {
		return refuseOtherCluster(profilev1.Reason_REASON_OTHER_REGISTRATION, 0, s.node.Position())
	}
	return nil
}
