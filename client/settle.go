package client

import (
	"context"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// settleAsNeverExecuted settles the number of a change when its copies go unanswered, and says whether it is now known that
// it never happens. If it has happened the answer to the next copy says so.
func (k *clusterLink) settleAsNeverExecuted(ctx context.Context, ch *change, hash uint64) bool {
	answer := &profilev1.SettleResponse{}
	_, _, err := k.sendOnce(ctx, k.nodes.NodeToAsk(), profilev1.Profiles_Settle_FullMethodName, &profilev1.SettleRequest{
		Request: ch.incarnation.requestHeader(ch.number, hash),
	}, answer)
	return err == nil && answer.Reason == profilev1.Reason_REASON_GIVEN_UP
}

// unknownOutcome hands the number to the background, where it is settled.
func (k *clusterLink) unknownOutcome(ctx context.Context, ch *change, hash uint64) error {
	c := k.c
	unheard := func() {
		if ch.abandoned != nil {
			ch.abandoned(fateUnclear, nil)
		}
	}
	s := &settlement{done: make(chan struct{})}
	if !c.life.startGoroutine(func() { k.settleUntilAnswered(ch, hash, s) }) {
		s.finishSettlement(Outcome{})
		unheard()
	}
	return &Error{
		Act: ch.act, Ref: ch.ref, Kind: ErrUnknown, Cause: context.Cause(ctx), Nodes: k.nodes.recentFailures(),
		pending: &pendingOutcome{done: s.done, settled: s},
	}
}

// settleUntilAnswered asks until a node returns the outcome of a number, or has marked it as never to be executed.
func (k *clusterLink) settleUntilAnswered(ch *change, hash uint64, s *settlement) {
	c := k.c
	asks := &profilev1.SettleRequest{}
	answer := &profilev1.SettleResponse{}
	f := fateUnclear
	var known Outcome
	defer func() { s.finishSettlement(known) }()
	var pace wire.Pace
	for {
		asks.Request = ch.incarnation.requestHeader(ch.number, hash)
		_, refusal, err := k.sendOnce(c.life.ctx, k.nodes.NodeToAsk(), profilev1.Profiles_Settle_FullMethodName, asks, answer)
		if err == nil {
			ch.incarnation.numbers.SettleNumber(ch.number)
			if known = outcomeOf(ch, answer); answer.Reason != profilev1.Reason_REASON_UNSPECIFIED {
				f = refused
			} else {
				f = happened
			}
			break
		}
		if isGreaterEpoch(refusal, ch.incarnation.of) { // the answers of the epoch before are gone: the outcome will never be known
			ch.incarnation.numbers.SettleNumber(ch.number)
			break
		}
		if refusal != nil && wire.MeaningOf(refusal.Reason).Retry == wire.Never {
			known = Outcome{Fate: FateForgotten}
			if endsIncarnation(refusal.Reason) {
				// No command of an incarnation that has ended applies: a request that is not in the answer table never
				// happened.
				f, known = refused, Outcome{Fate: FateNever}
				c.keeper.endIncarnation(ch.incarnation, refusalError("live", Ref{}, refusal, status.Convert(err).Message()))
			}
			ch.incarnation.numbers.SettleNumber(ch.number)
			break
		}
		if !pace.WaitForRetry(c.life.ctx, nil, refusal) {
			break
		}
	}
	if ch.abandoned != nil {
		if f != happened {
			answer = nil
		}
		ch.abandoned(f, answer)
	}
}
