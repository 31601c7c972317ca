package client

import (
	"context"
	"errors"

	"github.com/profilenode/profilenode/api/profilev1"
)

// sendLine lets one message at a time through to a profile: that is how messages of one sender keep their order.
type sendLine struct {
	busy  chan struct{} // holds one value while a message is on its way
	users int           // guarded by Client.mu
}

// awaitTurnToSend waits until no message of this client is on its way to the profile.
func (c *Client) awaitTurnToSend(ctx context.Context, ref Ref) (leave func(), err error) {
	c.mu.Lock()
	l := c.lines[ref]
	if l == nil {
		l = &sendLine{busy: make(chan struct{}, 1)}
		c.lines[ref] = l
	}
	l.users++
	c.mu.Unlock()
	out := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(c.lines, ref)
		}
	}
	select {
	case l.busy <- struct{}{}:
		return func() { <-l.busy; out() }, nil
	case <-ctx.Done():
		out()
		return nil, c.notSentError(ctx, "send", ref)
	}
}

// sendMessage sends one message, and lets the next one go only once the fate of this one is known.
func (c *Client) sendMessage(ctx context.Context, ref Ref, message any, kind string) (uint64, error) {
	body, err := encodeMessage(message)
	if err != nil {
		return 0, &Error{Act: "send", Ref: ref, Kind: ErrInvalid, Sentence: "the message cannot be encoded", Cause: err}
	}
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	leave, err := c.awaitTurnToSend(ctx, ref)
	if err != nil {
		return 0, err
	}
	answer := &profilev1.SendResponse{}
	err = c.sendAcrossIncarnations(ctx, &change{
		act: "send", ref: ref, method: profilev1.Profiles_Send_FullMethodName,
		request: &profilev1.SendRequest{Store: ref.Store, Key: ref.Key, Body: body, Kind: kind}, answer: answer,
		abandoned: func(requestFate, *profilev1.SettleResponse) { leave() },
	})
	if !errors.Is(err, ErrUnknown) {
		leave()
	}
	return answer.Id, err
}

// sendAcrossIncarnations does a change that belongs to no session. If the incarnation ended before it, it did not happen,
// and it is made under the next one.
func (c *Client) sendAcrossIncarnations(ctx context.Context, ch *change) error {
	for {
		l, err := c.awaitIncarnation(ctx, ch.act, ch.ref)
		if err != nil {
			return err
		}
		ch.incarnation, ch.number = l, 0
		err = c.sendUntilAnswered(ctx, ch)
		if !endsClient(err) || !sleepUnlessDone(ctx, againAfter) {
			return err
		}
	}
}
