package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Fate says whether a request with an unknown outcome happened.
type Fate uint8

const (
	FateUnknown   Fate = iota // it could not be settled: see the error beside it
	FateHappened              // it happened, once
	FateRefused               // it did not happen, by rule: Outcome.Err says which
	FateNever                 // it did not happen and never will
	FateForgotten             // it is too long ago: the cluster does not know any more
)

func (f Fate) String() string {
	switch f {
	case FateHappened:
		return "happened"
	case FateRefused:
		return "refused"
	case FateNever:
		return "never will happen"
	case FateForgotten:
		return "forgotten"
	}
	return "unknown"
}

// Outcome is the settled outcome of a request that returned ErrUnknown.
type Outcome struct {
	Fate     Fate
	Revision uint64 // with FateHappened: the profile's, after it; 0 if the request was not about data
	Err      error  // with FateRefused
}

// Outcome settles a request that ended with ErrUnknown and returns its outcome: err is the error that it returned, as it is
// or wrapped. It waits until that is known or ctx ends. Once known it stays so: a request that is said never to happen has
// no copy left that might. It may be asked again, and also long after the request.
//
// ErrUnavailable: ctx ended first; ask again. ErrClosed: this client is closed, and nothing more will be known.
// ErrInvalid: err is no such error of this client.
func (c *Client) Outcome(ctx context.Context, err error) (Outcome, error) {
	const act = "settle"
	var e *Error
	errors.As(err, &e)
	about := Ref{}
	if e != nil {
		about = e.Ref
	}
	switch p := pendingOutcomeIn(err); {
	case p != nil:
		select {
		case <-p.done:
		case <-ctx.Done():
		case <-c.life.ctx.Done():
		}
		if !isClosed(p.done) {
			return Outcome{}, c.notSentError(ctx, act, about)
		}
		if p.save != nil && p.save.err != nil && errors.Is(p.save.err, ErrUnknown) {
			return c.Outcome(ctx, p.save.err)
		}
		got := p.currentOutcome()
		if got.Fate == FateUnknown {
			return Outcome{}, &Error{Act: act, Ref: about, Kind: ErrClosed}
		}
		return got, nil
	case e != nil && e.reason == profilev1.Reason_REASON_FORGOTTEN:
		return Outcome{Fate: FateForgotten}, nil
	}
	return Outcome{}, &Error{Act: act, Ref: about, Kind: ErrInvalid, Sentence: fmt.Sprintf("%v is not an unknown outcome of this client", err)}
}

// pendingOutcome is a request that was left with its outcome unknown. One of save and settled holds its outcome.
type pendingOutcome struct {
	done    <-chan struct{} // closed when it is known, or is known to stay unclear
	save    *saveRequest
	settled *settlement
}

func (p *pendingOutcome) currentOutcome() Outcome {
	if p.settled != nil {
		return p.settled.outcome
	}
	if p.save.err != nil {
		return Outcome{Fate: FateRefused, Err: p.save.err}
	}
	return Outcome{Fate: FateHappened, Revision: p.save.revision}
}

// pendingOutcomeIn finds the request that an error is about, in it or in its causes.
func pendingOutcomeIn(err error) *pendingOutcome {
	if e, ok := err.(*Error); ok && e.pending != nil {
		return e.pending
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return pendingOutcomeIn(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range err.Unwrap() {
			if p := pendingOutcomeIn(inner); p != nil {
				return p
			}
		}
	}
	return nil
}

// settlement is how the settling of a number ended. outcome is written before done is closed.
type settlement struct {
	done    chan struct{}
	outcome Outcome
}

func (s *settlement) finishSettlement(o Outcome) {
	s.outcome = o
	close(s.done)
}

// outcomeOf returns a change's outcome from the answer that settled its number.
func outcomeOf(ch *change, answer *profilev1.SettleResponse) Outcome {
	switch answer.Reason {
	case profilev1.Reason_REASON_UNSPECIFIED:
		return Outcome{Fate: FateHappened, Revision: answer.GetHeader().GetRevision()}
	case profilev1.Reason_REASON_GIVEN_UP:
		return Outcome{Fate: FateNever}
	case profilev1.Reason_REASON_FORGOTTEN:
		return Outcome{Fate: FateForgotten}
	}
	why := refusalError(ch.act, ch.ref, &profilev1.Refusal{Reason: answer.Reason, Revision: answer.GetHeader().GetRevision()}, "")
	return Outcome{Fate: FateRefused, Err: why}
}
