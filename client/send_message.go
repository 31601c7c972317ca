package client

import (
	"context"
	"errors"
	"sync"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// messageLines lets one message at a time through to each profile: that is how messages of one sender keep their order.
type messageLines struct {
	mu   sync.Mutex
	busy map[Ref]*messageLine // of profiles to which messages are on their way
}

type messageLine struct {
	turn  chan struct{} // holds one value while a message is on its way
	users int           // guarded by messageLines.mu
}

// awaitTurn waits until no message of this client is on its way to the profile. false: ctx ended first.
func (m *messageLines) awaitTurn(ctx context.Context, ref Ref) (leave func(), ok bool) {
	l := m.joinLine(ref)
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; m.leaveLine(ref, l) }, true
	case <-ctx.Done():
		m.leaveLine(ref, l)
		return nil, false
	}
}

func (m *messageLines) joinLine(ref Ref) *messageLine {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.busy[ref]
	if l == nil {
		l = &messageLine{turn: make(chan struct{}, 1)}
		m.busy[ref] = l
	}
	l.users++
	return l
}

func (m *messageLines) leaveLine(ref Ref, l *messageLine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.busy, ref)
	}
}

// sendMessage sends one message, and lets the next one go only once the fate of this one is known.
func (c *Client) sendMessage(ctx context.Context, ref Ref, message any, kind string) (uint64, error) {
	body, err := encodeMessage(message)
	if err != nil {
		return 0, &Error{Act: "send", Ref: ref, Kind: ErrInvalid, Sentence: "the message cannot be encoded", Cause: err}
	}
	ctx, cancel := c.life.whileOpen(ctx)
	defer cancel()
	leave, ok := c.lines.awaitTurn(ctx, ref)
	if !ok {
		return 0, c.notSentError(ctx, "send", ref)
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
		l, err := c.keeper.awaitIncarnation(ctx, ch.act, ch.ref)
		if err != nil {
			return err
		}
		ch.incarnation, ch.number = l, 0
		err = c.link.sendUntilAnswered(ctx, ch)
		if !endsClient(err) || !wire.SleepUnlessDone(ctx, againAfter) {
			return err
		}
	}
}
