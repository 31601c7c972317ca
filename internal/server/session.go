package server

import (
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// firstMessageBytes bounds the messages that come with an opened session; Messages has the rest.
const firstMessageBytes = 512 << 10

// StartSession grants a profile, or puts the caller into its queue. The same number again is answered as it was the
// first time: a ticket stays a ticket, also when it has become a grant, which an event and the next renewal tell.
func (s profilesService) StartSession(ctx context.Context, q *profilev1.StartSessionRequest) (*profilev1.StartSessionResponse, error) {
	number := q.GetRequest().GetNumber()
	if err := checkFieldErrors(number, checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()), checkWhenOwned(q.GetWhenOwned())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.StartSession{Store: q.GetStore(), Key: q.GetKey(), WhenOwned: uint32(q.GetWhenOwned())})
	if err != nil {
		return nil, err
	}
	reply := &profilev1.StartSessionResponse{Header: replyHeader(q.GetRequest(), result)}
	if result.Code == fsm.Queued {
		reply.Queued, reply.Place, reply.Owner = true, result.Place, s.refusals.ownerOf(result.Owner)
		return reply, nil
	}
	return reply, s.answerOpened(ctx, q, result, reply)
}

// answerOpened fills in the profile as of its grant. While the grant is the caller's no other game server can have written it;
// once it is not, there is no session to give.
func (s *Server) answerOpened(ctx context.Context, q *profilev1.StartSessionRequest, result fsm.Result, reply *profilev1.StartSessionResponse) error {
	number := q.GetRequest().GetNumber()
	view, err := s.node.View()
	if err != nil {
		return s.refusals.unknownOutcomeError(number, err)
	}
	defer func() { _ = view.Close() }()
	grant, err := view.Grant(q.GetStore(), q.GetKey())
	if err != nil {
		return s.refusals.unknownOutcomeError(number, err)
	}
	if grant.MayWrite(lock.Incarnation(q.GetRequest().GetIncarnation()), result.Token) != lock.None {
		result.Code = fsm.Fenced
		return s.refusals.refusedResult(number, result)
	}
	// The grant stands, whether or not there is room to tell of it: a repeated request is answered.
	if err := s.readProfile(ctx, view, q.GetStore(), q.GetKey(), firstMessageBytes); err != nil {
		return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_UNKNOWN, Number: number}, "")
	}
	if reply.Profile, err = profileToWire(view, q.GetStore(), q.GetKey(), true); err != nil {
		return s.refusals.unknownOutcomeError(number, err)
	}
	if reply.Messages, err = readMessagePage(view.Messages, q.GetStore(), q.GetKey(), 0, firstMessageBytes); err != nil {
		return s.refusals.unknownOutcomeError(number, err)
	}
	reply.LoadCount = result.Loads
	return nil
}

// Cancel leaves the queue, or ends the session that the ticket has become.
func (s profilesService) Cancel(ctx context.Context, q *profilev1.CancelRequest) (*profilev1.CancelResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()), checkToken(q.GetTicket())); err != nil {
		return nil, err
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), &fsm.Cancel{Store: q.GetStore(), Key: q.GetKey(), Ticket: q.GetTicket()})
	if err != nil {
		return nil, err
	}
	return &profilev1.CancelResponse{Header: replyHeader(q.GetRequest(), result)}, nil
}

// Release ends a session without a save, and counts the panics of message handlers that ended it.
func (s profilesService) Release(ctx context.Context, q *profilev1.ReleaseRequest) (*profilev1.ReleaseResponse, error) {
	if err := checkFieldErrors(q.GetRequest().GetNumber(), checkRequest(q.GetRequest()), checkProfile(q.GetStore(), q.GetKey()), checkToken(q.GetToken()),
		checkCause(q.GetCause()), checkPanics(q.GetPanics())); err != nil {
		return nil, err
	}
	release := &fsm.Release{Store: q.GetStore(), Key: q.GetKey(), Token: q.GetToken(), Cause: uint32(q.GetCause())}
	for _, p := range q.GetPanics() {
		release.Panics = append(release.Panics, &fsm.MessagePanic{Message: p.GetMessage(), Text: p.GetText()})
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), release)
	if err != nil {
		return nil, err
	}
	return &profilev1.ReleaseResponse{Header: replyHeader(q.GetRequest(), result), Next: s.refusals.ownerOf(result.Owner)}, nil
}
