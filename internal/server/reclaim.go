package server

import (
	"cmp"
	"context"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Reclaim lets sessions go on after a false expiry. The answer is read from the tables once the command is applied, so a
// late copy, or one that lost again what it had won, is told the present state.
func (s profilesService) Reclaim(ctx context.Context, q *profilev1.ReclaimRequest) (*profilev1.ReclaimResponse, error) {
	number := q.GetRequest().GetNumber()
	if err := checkFieldErrors(number, checkRequest(q.GetRequest()), checkClaims(q.GetClaims())); err != nil {
		return nil, err
	}
	act := &fsm.Reclaim{Claims: make([]*fsm.Claim, len(q.GetClaims()))}
	for i, c := range q.GetClaims() {
		act.Claims[i] = &fsm.Claim{Store: c.GetStore(), Key: c.GetKey(), Token: c.GetToken(), Revision: c.GetRevision()}
	}
	result, err := s.proposeChange(ctx, q.GetRequest(), act)
	if err != nil {
		return nil, err
	}
	view, err := s.node.View()
	if err != nil {
		return nil, s.refusals.unknownOutcomeError(number, err)
	}
	defer func() { _ = view.Close() }()
	answer := &profilev1.ReclaimResponse{Header: replyHeader(q.GetRequest(), result)}
	for _, c := range act.Claims {
		grant, err := view.Grant(c.GetStore(), c.GetKey())
		if err != nil {
			return nil, s.refusals.unknownOutcomeError(number, err)
		}
		became := &profilev1.Reclaimed{Held: grant.MayWrite(lock.Incarnation(q.GetRequest().GetIncarnation()), result.Token) == lock.None}
		switch {
		case became.Held:
		case grant.Owner == 0:
			became.Owner = namedAskerIn(view, grant)
		default:
			if became.Owner, err = ownerIn(view, grant.Owner); err != nil {
				return nil, s.refusals.unknownOutcomeError(number, err)
			}
		}
		answer.Claims = append(answer.Claims, became)
	}
	return answer, nil
}

func checkClaims(claims []*profilev1.Claim) error {
	if n := len(claims); n == 0 || n > fsm.MaxClaims {
		return invalidField("the request claims %d sessions: 1 to %d, the rest in further requests", n, fsm.MaxClaims)
	}
	for _, c := range claims {
		if err := cmp.Or(checkProfile(c.GetStore(), c.GetKey()), checkToken(c.GetToken())); err != nil {
			return err
		}
	}
	return nil
}
