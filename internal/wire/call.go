package wire

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// CallError is the end of a Call that was not carried out.
type CallError struct {
	Fate Fate    // of the request
	Last Attempt // its last copy; if that IsFinal, it ended the Call
}

func (e *CallError) Error() string { return e.Last.Address + ": " + e.Last.Err.Error() }
func (e *CallError) Unwrap() error { return e.Last.Err }

// Call sends a request until a node carries it out: the same bytes each time, to the leader as far as known, else to one node
// after the other. It ends with a *CallError when a node refuses the request for good, ctx ends, or OnFailure gives up.
//
// It is for reads, and for requests that carry a number (Registration.Change).
func (n *Nodes) Call(ctx context.Context, method string, request, answer proto.Message) error {
	var copies Copies
	var pace Pace
	unsent := 0 // copies in a row
	for {
		a := n.SendCopy(ctx, n.NodeToAsk(), method, request, answer)
		if a.Err == nil {
			return nil
		}
		failed := &CallError{Fate: copies.Fate()}
		switch {
		case a.Refusal != nil:
			failed.Fate = copies.Refuse(a.Refusal)
		case a.Sent:
			copies.Lose()
			failed.Fate = copies.Fate()
		}
		if unsent++; a.Sent {
			unsent = 0
		}
		a.Unsent = unsent
		failed.Last = a
		giveUp := n.config.OnFailure != nil && n.config.OnFailure(ctx, a)
		if giveUp || a.IsFinal() || ctx.Err() != nil {
			return failed
		}
		if unsent%len(n.Addresses()) != 0 {
			continue // no node was burdened: the next one is tried at once
		}
		if !pace.WaitForRetry(ctx, nil, a.Refusal) {
			return failed
		}
	}
}
