package client

import (
	"context"
	"errors"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// pollGrant is how often a waiting StartSession looks whether it was granted, in case nobody told it.
const pollGrant = 2 * time.Second

// load is what a session starts from.
type load struct {
	profile  *profilev1.Profile
	loads    uint64
	messages []*profilev1.Message
	late     bool // read after the grant, without messages
}

// start opens a session. What it gives up on the way, a place in the queue or a grant that came too late, is given back
// in the background until the log has heard it.
func (c *Client) start(ctx context.Context, ref Ref, when profilev1.WhenOwned) (*session, load, error) {
	const act = "start session"
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	s, err := c.claim(ctx, ref)
	if err != nil {
		return nil, load{}, err
	}
	for {
		l, err := c.living(ctx, act, ref)
		if err != nil {
			s.leave()
			return nil, load{}, err
		}
		s.mu.Lock()
		s.life, s.ticket, s.early = l, 0, nil
		s.mu.Unlock()
		answer := &profilev1.StartSessionResponse{}
		err = c.do(ctx, &change{
			act: act, ref: ref, life: l, method: profilev1.Profiles_StartSession_FullMethodName,
			request: &profilev1.StartSessionRequest{Store: ref.Store, Key: ref.Key, WhenOwned: when}, answer: answer,
			abandoned: func(f outcome, was *profilev1.SettleResponse) { s.settled(l, f, was) },
		})
		if errors.Is(err, ErrUnknown) {
			s.give()
			return nil, load{}, err
		}
		if err == nil && answer.Queued {
			err = s.await(ctx, l, answer.Stands.GetToken())
			if err != nil && !closedNow(l.over) {
				s.give()
				s.cancel(l, answer.Stands.GetToken())
				return nil, load{}, err
			}
		}
		again := dead(reasonOf(err)) || err != nil && closedNow(l.over)
		var refusal *Error
		if errors.As(err, &refusal) && refusal.reason == profilev1.Reason_REASON_OWNED && refusal.Owner != nil && refusal.Owner.Incarnation == l.incarnation {
			// Nothing here holds it, or claim would have said so: a grant that was left behind.
			again = c.releaseOrphan(ctx, l, ref)
		}
		if again && pause(ctx, backoffBase) {
			continue
		}
		if err != nil {
			s.leave()
			return nil, load{}, err
		}
		from, err := s.open(ctx, l, answer)
		if err != nil {
			return nil, load{}, err
		}
		return s, from, nil
	}
}

// whileOpen is ctx as long as the client is open.
func (c *Client) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.open, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// claim makes the key this session's. One that is on its way out is waited for.
func (c *Client) claim(ctx context.Context, ref Ref) (*session, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, &Error{Act: "start session", Ref: ref, Kind: ErrClosed}
		}
		if c.draining {
			c.mu.Unlock()
			return nil, &Error{Act: "start session", Ref: ref, Kind: ErrClosed, Sentence: "it drains, so it opens no new sessions"}
		}
		old := c.sessions[ref]
		if old == nil {
			s := newSession(c, ref)
			c.sessions[ref] = s
			c.mu.Unlock()
			return s, nil
		}
		c.mu.Unlock()
		if !old.leaving() {
			return nil, &Error{Act: "start session", Ref: ref, Kind: ErrAlreadyOpen, Sentence: "use that session, or end it first"}
		}
		if ctx.Err() != nil {
			return nil, c.unsent(ctx, "start session", ref)
		}
		old.waitLeft(ctx)
	}
}

// open loads what the session starts from, as of its grant.
func (s *session) open(ctx context.Context, l *life, answer *profilev1.StartSessionResponse) (load, error) {
	token := answer.Stands.GetToken()
	if !answer.Queued && !s.hold(l, token) {
		s.leave()
		return load{}, overError("start session", s.ref, l.why)
	}
	from := load{profile: answer.Profile, loads: answer.LoadCount, messages: answer.Messages}
	if answer.Queued || answer.Profile == nil || answer.Stands.GetRepeated() {
		got := &profilev1.GetResponse{}
		err := s.client.ask(ctx, "load", s.ref, profilev1.Profiles_Get_FullMethodName,
			&profilev1.GetRequest{Store: s.ref.Store, Key: s.ref.Key}, got, false)
		s.mu.Lock()
		token = s.token
		s.mu.Unlock()
		if err == nil && !owns(got, l, token) {
			err = overError("load", s.ref, errors.New("another game server owns it now"))
		}
		if err != nil {
			s.lose(err)
			return load{}, err
		}
		from = load{profile: got.Profile, loads: got.LoadCount, late: true}
	}
	s.mu.Lock()
	s.revision, s.loads, s.loadedLate = from.profile.GetRevision(), from.loads, from.late
	s.mu.Unlock()
	s.data.Lock()
	s.mail.add(from.messages)
	s.data.Unlock()
	return from, nil
}

// await waits for the grant that a ticket becomes.
func (s *session) await(ctx context.Context, l *life, ticket uint64) error {
	s.mu.Lock()
	s.ticket = ticket
	early := s.early
	s.early = nil
	s.mu.Unlock()
	for _, g := range early {
		s.take(l, g)
	}
	poll := time.NewTicker(pollGrant)
	defer poll.Stop()
	for {
		select {
		case <-s.granted:
			return nil
		case <-l.over:
			return overError("start session", s.ref, l.why)
		case <-ctx.Done():
			return s.client.unsent(ctx, "start session", s.ref)
		case <-poll.C:
			got := &profilev1.GetResponse{}
			err := s.client.ask(ctx, "start session", s.ref, profilev1.Profiles_Get_FullMethodName,
				&profilev1.GetRequest{Store: s.ref.Store, Key: s.ref.Key, WithoutData: true}, got, false)
			if err == nil && got.Owner.GetIncarnation() == l.incarnation && got.Stands.GetToken() > ticket {
				s.hold(l, got.Stands.GetToken())
			}
		}
	}
}

// give says that nobody waits for this session any more.
func (s *session) give() {
	s.mu.Lock()
	s.given = true
	s.mu.Unlock()
}

// cancel leaves the queue, or ends what the ticket has become.
func (s *session) cancel(l *life, ticket uint64) {
	ok := s.client.spawn(func() {
		err := s.client.do(s.client.ctx, &change{
			act: "cancel", ref: s.ref, life: l, method: profilev1.Profiles_Cancel_FullMethodName,
			request: &profilev1.CancelRequest{Store: s.ref.Store, Key: s.ref.Key, Ticket: ticket},
			answer:  &profilev1.CancelResponse{},
		})
		if err != nil && reasonOf(err) != profilev1.Reason_REASON_NOT_WAITING && !errors.Is(err, ErrSessionOver) {
			s.client.config.Log.Warn("cancel", "profile", s.ref.String(), "error", err)
		}
		s.finish(err)
		s.leave()
	})
	if !ok {
		s.leave()
	}
}

// settled is told what became of a StartSession that was given up while a copy of it was unanswered.
func (s *session) settled(l *life, f outcome, was *profilev1.SettleResponse) {
	switch {
	case f == happened && was.Queued:
		s.cancel(l, was.Stands.GetToken())
	case f == happened:
		s.client.release(l, s.ref, was.Stands.GetToken(), s.leave)
	default:
		s.leave()
	}
}

// releaseOrphan gives back a grant of this incarnation that no session here has.
func (c *Client) releaseOrphan(ctx context.Context, l *life, ref Ref) bool {
	got := &profilev1.GetResponse{}
	err := c.ask(ctx, "start session", ref, profilev1.Profiles_Get_FullMethodName,
		&profilev1.GetRequest{Store: ref.Store, Key: ref.Key, WithoutData: true}, got, false)
	if err != nil {
		return false
	}
	if got.Owner.GetIncarnation() != l.incarnation {
		return true
	}
	released := make(chan struct{})
	c.release(l, ref, got.Stands.GetToken(), func() { close(released) })
	select {
	case <-released:
		return true
	case <-ctx.Done():
		return false
	}
}
