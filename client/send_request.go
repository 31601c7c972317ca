package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// change is a numbered request, from its number to its answer.
type change struct {
	act         string // for errors
	ref         Ref
	incarnation *incarnation
	method      string
	request     proto.Message
	answer      proto.Message
	number      uint64 // the present one
	// overtaken is closed when something better waits: the request is given up with errOvertaken, unless a copy of it may
	// have happened. nil: never.
	overtaken <-chan struct{}
	// abandoned is called after ErrUnknown was returned: once, with the fate when it is known, or with fateUnclear when it
	// never will be.
	abandoned func(requestFate, *profilev1.SettleResponse)
}

// errOvertaken ends a request that has not happened because a later one replaces it.
var errOvertaken = errors.New("overtaken by a later one")

// longOut is how long a request may go unanswered before its number is settled by a small request of its own: one profile
// alone must not keep the settled mark down, since without the mark no request of this client gets a new number.
const longOut = 3 * time.Second

// sendUntilAnswered sends a change until it is answered, and returns nil if it happened. It keeps its number as long as a
// copy may have happened, and takes another one only when the first is known to have done nothing.
//
// A refusal by the rules is final only if no earlier copy went unanswered, or if it came out of the log: there the
// table of answers is asked first, so it speaks for every copy. If ctx ends while a copy is unanswered, the error is
// ErrUnknown and the number is settled in the background: it has happened, or it never will.
func (k *clusterLink) sendUntilAnswered(ctx context.Context, ch *change) error {
	c := k.c
	if ctx.Err() != nil {
		return c.notSentError(ctx, ch.act, ch.ref)
	}
	if err := k.checkFeatures(ch.act, ch.ref, ch.request); err != nil {
		return err
	}
	hash, err := ch.checkBeforeSending()
	if err != nil {
		return err
	}
	if err := k.takeNumberFor(ctx, ch); err != nil {
		return err
	}
	var copies wire.Copies
	var out time.Time // when the first copy left that may have happened; zero: none may
	givenUp := false  // this side asked that the number be never executed
	again := 0        // times that its parts were damaged
	var pace wire.Pace
	for {
		wire.SetRequestHeader(ch.request, ch.incarnation.requestHeader(ch.number, hash))
		left := time.Now()
		sent, refusal, err := k.sendOnce(ctx, k.nodes.NodeToAsk(), ch.method, ch.request, ch.answer)
		if err == nil {
			ch.incarnation.numbers.SettleNumber(ch.number)
			return nil
		}
		fate, retry := copies.Fate(), wire.Elsewhere
		switch {
		case refusal != nil:
			fate, retry = copies.Refuse(refusal), wire.MeaningOf(refusal.Reason).Retry
		case sent:
			copies.Lose()
		}
		if out.IsZero() && copies.Fate() == wire.MayHaveHappened {
			out = left
		}
		if isGreaterEpoch(refusal, ch.incarnation.of) {
			over := refusalError(ch.act, ch.ref, refusal, restoredSince)
			over.Kind = ErrSessionOver
			c.keeper.endIncarnation(ch.incarnation, over)
			if fate == wire.MayHaveHappened {
				return k.unknownOutcome(ctx, ch, hash)
			}
			ch.incarnation.numbers.SettleNumber(ch.number)
			return over
		}
		renumber := false // the number has done nothing, and another one is taken
		switch {
		case retry == wire.Never:
			if endsIncarnation(refusal.Reason) {
				c.keeper.endIncarnation(ch.incarnation, refusalError("live", Ref{}, refusal, status.Convert(err).Message()))
			}
			forgotten := refusal.Reason == profilev1.Reason_REASON_FORGOTTEN // asking again would be answered the same
			if fate == wire.MayHaveHappened && !forgotten && !endsIncarnation(refusal.Reason) {
				return k.unknownOutcome(ctx, ch, hash)
			}
			switch {
			case refusal.Reason == profilev1.Reason_REASON_GIVEN_UP && givenUp:
			case refusal.Reason == profilev1.Reason_REASON_DATA_DAMAGED && again < 3:
				again++
			default:
				ch.incarnation.numbers.SettleNumber(ch.number)
				return refusalError(ch.act, ch.ref, refusal, status.Convert(err).Message())
			}
			renumber = true
		case out.IsZero():
			// It may last, and a last save, which is taken, must find a number.
			renumber = refusal.GetReason() == profilev1.Reason_REASON_NO_SPACE
		case time.Since(out) > longOut && ctx.Err() == nil:
			givenUp = true
			renumber = k.settleAsNeverExecuted(ctx, ch, hash)
		}
		if renumber {
			ch.incarnation.numbers.SettleNumber(ch.number)
			copies, out, givenUp = wire.Copies{}, time.Time{}, false
		}
		var overtaken <-chan struct{} // nil while a copy may have happened
		if out.IsZero() {
			overtaken = ch.overtaken
		}
		if c.life.ctx.Err() != nil || !pace.WaitForRetry(ctx, overtaken, refusal) {
			if !out.IsZero() {
				return k.unknownOutcome(ctx, ch, hash)
			}
			ch.incarnation.numbers.SettleNumber(ch.number)
			if overtaken != nil && isClosed(overtaken) {
				return errOvertaken
			}
			return c.notSentError(ctx, ch.act, ch.ref)
		}
		if renumber {
			if err := k.takeNumberFor(ctx, ch); err != nil {
				return err
			}
		}
		c.counters.retries.Add(1)
	}
}

// takeNumberFor takes a number for a change. An error means that it has none.
func (k *clusterLink) takeNumberFor(ctx context.Context, ch *change) error {
	c := k.c
	number, ok := ch.incarnation.numbers.TakeNumber(ctx, ch.overtaken)
	ch.number = number
	switch {
	case ok:
		return nil
	case ctx.Err() == nil:
		return errOvertaken
	}
	return c.notSentError(ctx, ch.act, ch.ref)
}

// notSentError is the error of a request of which no copy can have happened.
func (c *Client) notSentError(ctx context.Context, act string, ref Ref) error {
	if c.life.ctx.Err() != nil || context.Cause(ctx) == ErrClosed {
		return c.closedError(act, ref)
	}
	return &Error{Act: act, Ref: ref, Kind: ErrUnavailable, Cause: context.Cause(ctx), Nodes: c.link.nodes.recentFailures()}
}

// closedError is the error of a call to a client that has ended, with the reason if that was not Close.
func (c *Client) closedError(act string, ref Ref) error {
	e := &Error{Act: act, Ref: ref, Kind: ErrClosed}
	if why := c.Err(); why != nil && why != ErrClosed {
		e.Cause = why
	}
	return e
}

// endsClient says whether a change did not happen because its incarnation had ended: it may be made under the next one.
func endsClient(err error) bool {
	return endsIncarnation(reasonOf(err)) || reasonOf(err) == profilev1.Reason_REASON_OTHER_CLUSTER // do returns that of a later epoch only
}

// endsIncarnation says whether a refusal means that the incarnation has ended.
func endsIncarnation(r profilev1.Reason) bool {
	return r == profilev1.Reason_REASON_SERVER_GONE || r == profilev1.Reason_REASON_CLONED
}

// againAfter is the pause before a request is made again under the next incarnation.
const againAfter = 20 * time.Millisecond
