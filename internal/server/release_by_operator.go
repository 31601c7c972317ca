package server

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
)

// ReleaseByOperator is an operator's release.
func (s operatorService) ReleaseByOperator(ctx context.Context, q *profilev1.ReleaseByOperatorRequest) (*profilev1.ReleaseByOperatorResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()), checkToken(q.GetToken()),
		checkReason(q.GetReason())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.ReleaseByOperator{
		Store: q.GetStore(), Key: q.GetKey(), Token: q.GetToken(), Force: q.GetForce(), Reason: q.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	view, err := s.node.View()
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(q.GetRequest().GetNumber(), err)
	}
	defer func() { _ = view.Close() }()
	owner, err := ownerIn(view, result.Owner)
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(q.GetRequest().GetNumber(), err)
	}
	grant, err := view.Grant(q.GetStore(), q.GetKey())
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(q.GetRequest().GetNumber(), err)
	}
	row, _, err := view.Server(result.Owner)
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(q.GetRequest().GetNumber(), err)
	}
	reply := &profilev1.ReleaseByOperatorResponse{
		Header: replyHeader(q.GetRequest(), result), Owner: owner, Waiters: uint64(len(grant.Waiters)), HandOffMs: row.Class.HandOff.Milliseconds(),
	}
	reply.Over = grant.Token != result.Token || grant.Owner != result.Owner || !owner.GetInForce()
	reply.Revoked = !reply.Over && grant.Revoked
	return reply, nil
}
