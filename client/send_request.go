package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
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
func (c *Client) sendUntilAnswered(ctx context.Context, ch *change) error {
	if ctx.Err() != nil {
		return c.notSentError(ctx, ch.act, ch.ref)
	}
	if err := c.checkFeatures(ch.act, ch.ref, ch.request); err != nil {
		return err
	}
	hash, err := ch.checkBeforeSending()
	if err != nil {
		return err
	}
	if err := c.takeNumberFor(ctx, ch); err != nil {
		return err
	}
	var copies wire.Copies
	var out time.Time // when the first copy left that may have happened; zero: none may
	burned := false   // this side asked that the number be never executed
	again := 0        // times that its parts were damaged
	var pace wire.Pace
	for {
		wire.SetRequestHeader(ch.request, ch.incarnation.requestHeader(ch.number, hash))
		left := time.Now()
		sent, refusal, err := c.sendOnce(ctx, c.nodes.NodeToAsk(), ch.method, ch.request, ch.answer)
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
			c.endIncarnation(ch.incarnation, over)
			if fate == wire.MayHaveHappened {
				return c.unknownOutcome(ctx, ch, hash)
			}
			ch.incarnation.numbers.SettleNumber(ch.number)
			return over
		}
		anew := false // the number has done nothing, and another one is taken
		switch {
		case retry == wire.Never:
			if endsIncarnation(refusal.Reason) {
				c.endIncarnation(ch.incarnation, refusalError("live", Ref{}, refusal, status.Convert(err).Message()))
			}
			forgotten := refusal.Reason == profilev1.Reason_REASON_FORGOTTEN // asking again would be answered the same
			if fate == wire.MayHaveHappened && !forgotten && !endsIncarnation(refusal.Reason) {
				return c.unknownOutcome(ctx, ch, hash)
			}
			switch {
			case refusal.Reason == profilev1.Reason_REASON_BURNED && burned:
			case refusal.Reason == profilev1.Reason_REASON_DATA_DAMAGED && again < 3:
				again++
			default:
				ch.incarnation.numbers.SettleNumber(ch.number)
				return refusalError(ch.act, ch.ref, refusal, status.Convert(err).Message())
			}
			anew = true
		case out.IsZero():
			// It may last, and a last save, which is taken, must find a number.
			anew = refusal.GetReason() == profilev1.Reason_REASON_NO_SPACE
		case time.Since(out) > longOut && ctx.Err() == nil:
			burned = true
			anew = c.settleAsNeverExecuted(ctx, ch, hash)
		}
		if anew {
			ch.incarnation.numbers.SettleNumber(ch.number)
			copies, out, burned = wire.Copies{}, time.Time{}, false
		}
		var overtaken <-chan struct{} // nil while a copy may have happened
		if out.IsZero() {
			overtaken = ch.overtaken
		}
		if c.ctx.Err() != nil || !pace.WaitForRetry(ctx, overtaken, refusal) {
			if !out.IsZero() {
				return c.unknownOutcome(ctx, ch, hash)
			}
			ch.incarnation.numbers.SettleNumber(ch.number)
			if overtaken != nil && isClosed(overtaken) {
				return errOvertaken
			}
			return c.notSentError(ctx, ch.act, ch.ref)
		}
		if anew {
			if err := c.takeNumberFor(ctx, ch); err != nil {
				return err
			}
		}
		c.counters.retries.Add(1)
	}
}

// takeNumberFor takes a number for a change. An error means that it has none.
func (c *Client) takeNumberFor(ctx context.Context, ch *change) error {
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

// settleAsNeverExecuted settles the number of a change when its copies go unanswered, and says whether it is now known that
// it never happens. If it has happened the answer to the next copy says so.
func (c *Client) settleAsNeverExecuted(ctx context.Context, ch *change, hash uint64) bool {
	answer := &profilev1.SettleResponse{}
	_, _, err := c.sendOnce(ctx, c.nodes.NodeToAsk(), profilev1.Profiles_Settle_FullMethodName, &profilev1.SettleRequest{
		Request: ch.incarnation.requestHeader(ch.number, hash),
	}, answer)
	return err == nil && answer.Reason == profilev1.Reason_REASON_BURNED
}

// readUntilAnswered sends a read until it is answered. stale reads go to any node.
func (c *Client) readUntilAnswered(ctx context.Context, act string, ref Ref, method string, request, answer proto.Message, stale bool) error {
	if err := checkText(act, ref, ""); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.notSentError(ctx, act, ref)
	}
	if err := c.checkFeatures(act, ref, request); err != nil {
		return err
	}
	var pace wire.Pace
	for {
		c.bindRead(request)
		target := c.nodes.NodeToAsk()
		if stale {
			target = c.nodes.AnyNode()
		}
		_, refusal, err := c.sendOnce(ctx, target, method, request, answer)
		if err == nil {
			return nil
		}
		if refusal != nil && wire.MeaningOf(refusal.Reason).Retry == wire.Never {
			return refusalError(act, ref, refusal, status.Convert(err).Message())
		}
		if c.ctx.Err() != nil || !pace.WaitForRetry(ctx, nil, refusal) {
			return c.notSentError(ctx, act, ref)
		}
	}
}

// sendOnce sends one copy of a request to one node. Unless sent, none has left this process.
func (c *Client) sendOnce(ctx context.Context, addr, method string, request, answer proto.Message) (sent bool, refusal *profilev1.Refusal, err error) {
	if answerHere := c.config.hooks.Answer; answerHere != nil {
		proto.Reset(answer)
		err := answerHere(method, request, answer)
		return true, wire.RefusalIn(err), err
	}
	told := c.told.Load()
	a := c.nodes.SendCopy(ctx, addr, method, request, answer)
	if a.Sent {
		told.noteHeader(answer)
	}
	if a.Sent && a.Refusal == nil && status.Code(a.Err) == codes.Unimplemented {
		a.Refusal = &profilev1.Refusal{Reason: profilev1.Reason_REASON_UNSUPPORTED}
	}
	if a.Err == nil || ctx.Err() == nil { // a caller that gave up says nothing of the node
		c.noteAnswer(addr, a.Link, a.Refusal, a.Err)
	}
	if isBindingRefusal(a.Refusal) && c.nodes.isFirstForeignRefusal(addr) {
		c.config.Log.Warn("a node refuses this client's requests, and others are asked", "node", addr, "error", a.Err)
	}
	return a.Sent, a.Refusal, a.Err
}

// notSentError is the error of a request of which no copy can have happened.
func (c *Client) notSentError(ctx context.Context, act string, ref Ref) error {
	if c.ctx.Err() != nil || context.Cause(ctx) == ErrClosed {
		return c.closedError(act, ref)
	}
	return &Error{Act: act, Ref: ref, Kind: ErrUnavailable, Cause: context.Cause(ctx), Nodes: c.nodes.recentFailures()}
}

// closedError is the error of a call to a client that has ended, with the reason if that was not Close.
func (c *Client) closedError(act string, ref Ref) error {
	e := &Error{Act: act, Ref: ref, Kind: ErrClosed}
	if why := c.Err(); why != nil && why != ErrClosed {
		e.Cause = why
	}
	return e
}

// unknownOutcome hands the number to the background, where it is settled.
func (c *Client) unknownOutcome(ctx context.Context, ch *change, hash uint64) error {
	unheard := func() {
		if ch.abandoned != nil {
			ch.abandoned(fateUnclear, nil)
		}
	}
	s := &settlement{done: make(chan struct{})}
	if !c.startGoroutine(func() { c.settleUntilAnswered(ch, hash, s) }) {
		s.finishSettlement(Outcome{})
		unheard()
	}
	return &Error{
		Act: ch.act, Ref: ch.ref, Kind: ErrUnknown, Cause: context.Cause(ctx), Nodes: c.nodes.recentFailures(),
		pending: &pendingOutcome{done: s.done, settled: s},
	}
}

// settleUntilAnswered asks until a node returns the outcome of a number, or has marked it as never to be executed.
func (c *Client) settleUntilAnswered(ch *change, hash uint64, s *settlement) {
	asks := &profilev1.SettleRequest{}
	answer := &profilev1.SettleResponse{}
	f := fateUnclear
	var known Outcome
	defer func() { s.finishSettlement(known) }()
	var pace wire.Pace
	for {
		asks.Request = ch.incarnation.requestHeader(ch.number, hash)
		_, refusal, err := c.sendOnce(c.ctx, c.nodes.NodeToAsk(), profilev1.Profiles_Settle_FullMethodName, asks, answer)
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
				c.endIncarnation(ch.incarnation, refusalError("live", Ref{}, refusal, status.Convert(err).Message()))
			}
			ch.incarnation.numbers.SettleNumber(ch.number)
			break
		}
		if !pace.WaitForRetry(c.ctx, nil, refusal) {
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

// sleepUnlessDone waits, and returns false if ctx ends first.
func sleepUnlessDone(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
