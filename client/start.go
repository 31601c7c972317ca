package client

import (
	"context"
	"errors"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// pollGrant is the period at which a waiting StartSession asks whether it was granted, in case no event told it.
const pollGrant = 2 * time.Second

// loadedProfile is the stored state that a session starts from.
type loadedProfile struct {
	profile  *profilev1.Profile
	loads    uint64
	messages []*profilev1.Message
	late     bool // read after the grant, without messages
}

// startSession opens a session. A place in the queue or a late grant that it gives up on the way is returned in the
// background, until the release is in the log.
func (c *Client) startSession(ctx context.Context, ref Ref, when profilev1.WhenOwned) (*session, loadedProfile, error) {
	const act = "start session"
	ctx, cancel := c.life.whileOpen(ctx)
	defer cancel()
	s, err := c.sessions.claimKey(ctx, ref)
	if err != nil {
		return nil, loadedProfile{}, err
	}
	for {
		l, err := c.keeper.awaitIncarnation(ctx, act, ref)
		if err != nil {
			s.freeKey()
			return nil, loadedProfile{}, err
		}
		s.grant.beginUnder(l)
		answer := &profilev1.StartSessionResponse{}
		err = c.link.sendUntilAnswered(ctx, &change{
			act: act, ref: ref, incarnation: l, method: profilev1.Profiles_StartSession_FullMethodName,
			request: &profilev1.StartSessionRequest{Store: ref.Store, Key: ref.Key, WhenOwned: when}, answer: answer,
			abandoned: func(f requestFate, was *profilev1.SettleResponse) { s.onStartSettled(l, f, was) },
		})
		if errors.Is(err, ErrUnknown) {
			s.giveUpStart()
			return nil, loadedProfile{}, err
		}
		if err == nil && answer.Queued {
			err = s.awaitGrant(ctx, l, answer.Header.GetToken())
			if err != nil && !isClosed(l.over) {
				s.giveUpStart()
				s.cancelTicket(l, answer.Header.GetToken())
				return nil, loadedProfile{}, err
			}
		}
		again := endsIncarnation(reasonOf(err)) || err != nil && isClosed(l.over)
		var refusal *Error
		if errors.As(err, &refusal) && refusal.reason == profilev1.Reason_REASON_OWNED && refusal.Owner != nil && refusal.Owner.Incarnation == l.id {
			// Nothing here holds it, or claim would have said so: a grant that was left behind.
			again = c.releaseOrphan(ctx, l, ref)
		}
		if again && wire.SleepUnlessDone(ctx, againAfter) {
			continue
		}
		if err != nil {
			s.freeKey()
			return nil, loadedProfile{}, err
		}
		from, err := s.loadAfterGrant(ctx, l, answer)
		if err != nil {
			return nil, loadedProfile{}, err
		}
		return s, from, nil
	}
}

// loadAfterGrant loads the stored state that the session starts from, as of its grant.
func (s *session) loadAfterGrant(ctx context.Context, l *incarnation, answer *profilev1.StartSessionResponse) (loadedProfile, error) {
	token := answer.Header.GetToken()
	if !answer.Queued && !s.grant.holdGrant(l, token) {
		s.freeKey()
		return loadedProfile{}, overError("start session", s.ref, l.why)
	}
	from := loadedProfile{profile: answer.Profile, loads: answer.LoadCount, messages: answer.Messages}
	if answer.Queued || answer.Profile == nil || answer.Header.GetRepeated() {
		got := &profilev1.GetResponse{}
		err := s.client.link.readUntilAnswered(ctx, "load", s.ref, profilev1.Profiles_Get_FullMethodName,
			&profilev1.GetRequest{Store: s.ref.Store, Key: s.ref.Key}, got, false)
		s.mu.Lock()
		token = s.grant.token
		s.mu.Unlock()
		if err == nil && !ownsProfile(got, l, token) {
			err = overError("load", s.ref, errors.New("another game server owns it now"))
		}
		if err != nil {
			s.loseSession(err)
			return loadedProfile{}, err
		}
		from = loadedProfile{profile: got.Profile, loads: got.LoadCount, late: true}
	}
	s.mu.Lock()
	s.saves.revision, s.loads, s.loadedWithoutMessages = from.profile.GetRevision(), from.loads, from.late
	s.mu.Unlock()
	s.data.Lock()
	s.inbox.addLoaded(from.messages)
	s.data.Unlock()
	return from, nil
}

// awaitGrant waits for the grant that a ticket becomes.
func (s *session) awaitGrant(ctx context.Context, l *incarnation, ticket uint64) error {
	s.grant.setTicket(l, ticket)
	poll := time.NewTicker(pollGrant)
	defer poll.Stop()
	for {
		select {
		case <-s.grant.taken:
			return nil
		case <-l.over:
			return overError("start session", s.ref, l.why)
		case <-ctx.Done():
			return s.client.notSentError(ctx, "start session", s.ref)
		case <-poll.C:
			got, err := s.client.link.lookUpOwner(ctx, "start session", s.ref)
			if err == nil && got.Owner.GetIncarnation() == l.id && got.Header.GetToken() > ticket {
				s.grant.holdGrant(l, got.Header.GetToken())
			}
		}
	}
}

// giveUpStart notes that no StartSession waits for this session any more.
func (s *session) giveUpStart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.apply(startGivenUp)
}

// cancelTicket leaves the queue, or releases the grant that the ticket has become.
func (s *session) cancelTicket(l *incarnation, ticket uint64) {
	ok := s.client.life.startGoroutine(func() {
		err := s.client.link.sendUntilAnswered(s.client.life.ctx, &change{
			act: "cancel", ref: s.ref, incarnation: l, method: profilev1.Profiles_Cancel_FullMethodName,
			request: &profilev1.CancelRequest{Store: s.ref.Store, Key: s.ref.Key, Ticket: ticket},
			answer:  &profilev1.CancelResponse{},
		})
		if err != nil && reasonOf(err) != profilev1.Reason_REASON_NOT_WAITING && !errors.Is(err, ErrSessionOver) {
			s.client.config.Log.Warn("cancel", "profile", s.ref.String(), "error", err)
		}
		s.finishSession(err)
		s.freeKey()
	})
	if !ok {
		s.freeKey()
	}
}

// onStartSettled gets the fate of a StartSession that was given up while a copy of it was unanswered.
func (s *session) onStartSettled(l *incarnation, f requestFate, was *profilev1.SettleResponse) {
	switch {
	case f == happened && was.Queued:
		s.cancelTicket(l, was.Header.GetToken())
	case f == happened:
		s.client.keeper.releaseInBackground(l, heldGrant{s.ref, was.Header.GetToken()}, EndUnknown, s.freeKey)
	default:
		s.freeKey()
	}
}

// releaseOrphan gives back a grant of this incarnation that no session here has.
func (c *Client) releaseOrphan(ctx context.Context, l *incarnation, ref Ref) bool {
	got, err := c.link.lookUpOwner(ctx, "start session", ref)
	if err != nil {
		return false
	}
	if got.Owner.GetIncarnation() != l.id {
		return true
	}
	released := make(chan struct{})
	c.keeper.releaseInBackground(l, heldGrant{ref, got.Header.GetToken()}, EndUnknown, func() { close(released) })
	select {
	case <-released:
		return true
	case <-ctx.Done():
		return false
	}
}
