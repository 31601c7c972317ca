package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/lock"
)

// The stream of a game server. Three goroutines share the work so that nothing waits for anything slower: one receives
// renewals and keeps only the newest, one proves and compares, and the handler alone sends.

// errServerGone says, confirmed, that an incarnation has ended or never was.
var errServerGone = errors.New("the incarnation has ended")

// errOtherRegistration says that another process registered an incarnation.
var errOtherRegistration = errors.New("the incarnation was registered by another process")

// renewalAnswer is the answer to one renewal; after the last one the stream ends.
type renewalAnswer struct {
	events []*profilev1.Event
	last   bool
	err    error
}

// streamState is the state of one stream: what its renewals showed, and what was sent. The goroutine that answers them alone
// uses it.
type streamState struct {
	registration uint64 // of the first renewal
	answered     bool   // the first was; its incarnation lived then, and was of that registration
	level        uint32 // that was announced
}

// Live serves one stream until either side ends it.
func (s profilesService) Live(stream profilev1.Profiles_LiveServer) error {
	renewals := make(chan *profilev1.Renewal, 1)
	if !s.startWork(func() { receiveRenewals(stream, renewals) }) {
		return stream.Send(streamEndEvent(&profilev1.StreamEnd{Leader: s.refusals.leaderHint()}))
	}
	first, err := s.receiveFirst(stream, renewals)
	if first == nil {
		return err
	}

	if err := s.checkFirst(stream.Context(), first); err != nil { // before it takes the place of the rightful one's stream
		return err
	}
	box := s.hub.openQueue(lock.Incarnation(first.GetIncarnation()))
	defer s.hub.closeQueue(box)
	host, conn := peerOf(stream.Context())
	seen := &cluster.Stream{Incarnation: box.server, PeerHost: host}
	dismisses := false // this side ends the stream: its end by the peer proves nothing then
	defer func() { s.node.NoteStreamEnd(seen, !dismisses && conn.endedByPeer()) }()
	answers := make(chan renewalAnswer)
	ctx, cancel := context.WithCancel(stream.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { s.answerRenewal(ctx, box, seen, first, renewals, answers) })

	for {
		select {
		case event := <-box.events:
			s.addAsker(event)
			if err := stream.Send(event); err != nil {
				return err
			}
		case a, ok := <-answers:
			dismisses = a.last
			for _, event := range a.events {
				if err := stream.Send(event); err != nil {
					return err
				}
			}
			if !ok || a.last {
				return a.err
			}
		case <-box.ended:
			dismisses = true
			return sendGoodbye(stream, box)
		}
	}
}

// receiveFirst waits for the renewal that names the incarnation. Without one there is nothing to do but to end.
func (s *Server) receiveFirst(stream profilev1.Profiles_LiveServer, renewals <-chan *profilev1.Renewal) (*profilev1.Renewal, error) {
	patience := time.NewTimer(s.limits.Renewal)
	defer patience.Stop()
	select {
	case first, ok := <-renewals:
		if !ok {
			return nil, nil
		}
		if first.GetIncarnation() == 0 {
			return nil, checkFieldErrors(0, invalidField("the first renewal names no incarnation: register, then open the stream"))
		}
		return first, nil
	case <-patience.C:
		return nil, checkFieldErrors(0, invalidField("the stream brought no renewal for %v: send the first one at once", s.limits.Renewal))
	case <-s.life.Done():
		return nil, stream.Send(streamEndEvent(&profilev1.StreamEnd{Leader: s.refusals.leaderHint()}))
	}
}

// sendGoodbye sends the waiting events, and why the stream ends.
func sendGoodbye(stream profilev1.Profiles_LiveServer, box *eventQueue) error {
	for {
		select {
		case event := <-box.events:
			if err := stream.Send(event); err != nil {
				return err
			}
			continue
		default:
		}
		return stream.Send(streamEndEvent(box.streamEnd))
	}
}

// receiveRenewals keeps the newest renewal: its answer is worth those of all before it. It ends with the stream.
func receiveRenewals(stream profilev1.Profiles_LiveServer, renewals chan *profilev1.Renewal) {
	defer close(renewals)
	for {
		r, err := stream.Recv()
		if err != nil {
			return
		}
		select {
		case <-renewals:
		default:
		}
		renewals <- r // room for one, and there is no other sender
	}
}

// answerRenewal answers renewals one after another until the stream ends.
func (s *Server) answerRenewal(ctx context.Context, box *eventQueue, seen *cluster.Stream, r *profilev1.Renewal, renewals <-chan *profilev1.Renewal, answers chan<- renewalAnswer) {
	defer close(answers)
	known := &streamState{registration: r.GetRegistration()}
	for {
		var a renewalAnswer
		if err := s.checkLater(box.server, known, r); err != nil {
			a = renewalAnswer{last: true, err: err}
		} else if err := s.runRecovered("renew", func() error { a = s.buildRenewed(ctx, box, seen, r, known); return nil }); err != nil {
			a = renewalAnswer{last: true, err: s.refusals.readError(err)}
		}
		known.answered = true
		select {
		case answers <- a:
		case <-ctx.Done():
			return
		}
		var ok bool
		select {
		case r, ok = <-renewals:
		case <-ctx.Done():
		}
		if !ok {
			return
		}
	}
}

// buildRenewed answers one. The owner's news come before the answer, so that no answer is taken without them.
func (s *Server) buildRenewed(ctx context.Context, box *eventQueue, seen *cluster.Stream, r *profilev1.Renewal, known *streamState) renewalAnswer {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	nothing := renewalAnswer{events: []*profilev1.Event{{What: &profilev1.Event_Renewed{Renewed: &profilev1.Renewed{Sequence: r.GetSequence()}}}}}

	term, view, err := s.confirmRenewal(ctx, box.server, known.registration, !known.answered, r.GetSeen())
	var notLeader *cluster.NotLeaderError
	switch {
	case errors.Is(err, errRolledBack):
		return renewalAnswer{last: true, err: s.unconfirmedAnswer(err)}
	case errors.Is(err, errServerGone):
		return streamEndAnswer(&profilev1.StreamEnd{ServerGone: true})
	case errors.Is(err, errOtherRegistration):
		return renewalAnswer{last: true, err: s.unconfirmedAnswer(err)}
	case errors.As(err, &notLeader):
		return streamEndAnswer(&profilev1.StreamEnd{Leader: notLeader.Leader})
	case errors.Is(err, cluster.ErrClosed):
		return streamEndAnswer(&profilev1.StreamEnd{Leader: s.refusals.leaderHint()})
	case err != nil:
		s.log.Debug("a renewal is not confirmed", "incarnation", box.server, "error", err)
		return nothing
	}
	defer func() { _ = view.Close() }()
	s.node.AddStream(seen)

	missed := box.missed.Swap(false)
	a, err := s.collectEvents(view, r, term, missed)
	if err != nil {
		s.log.Error("a renewal cannot be answered", "incarnation", box.server, "error", err)
		if missed {
			box.missed.Store(true)
		}
		return nothing
	}
	s.addAnnouncements(known, view.Position().Level, a.events)
	return a
}

// addAnnouncements adds level and features to the answer to a renewal, if the stream was told others or none.
func (s *Server) addAnnouncements(known *streamState, level uint32, events []*profilev1.Event) {
	if level == known.level {
		return
	}
	known.level = level
	for _, event := range events {
		if renewed := event.GetRenewed(); renewed != nil {
			renewed.Level, renewed.Features = level, s.features(level)
		}
	}
}

func streamEndAnswer(streamEnd *profilev1.StreamEnd) renewalAnswer {
	return renewalAnswer{events: []*profilev1.Event{streamEndEvent(streamEnd)}, last: true}
}

// confirmRenewal confirms the lead for a living incarnation, and returns the tables as they stood after it. Only confirmed tables
// say that an incarnation is gone: a follower's may not know it yet. An incarnation not known to be alive is looked up before
// the judge hears of it.
func (s *Server) confirmRenewal(ctx context.Context, server lock.Incarnation, registration uint64, lookUp bool, seen uint64) (uint64, *sharedView, error) {
	s.node.NoteRequest(server)
	if lookUp || seen > s.node.LastIndex() {
		if _, err := s.node.ConfirmLeadership(ctx); err != nil {
			return 0, nil, err
		}
		if err := s.checkLogReaches(ctx, seen); err != nil {
			return 0, nil, err
		}
		view, err := s.checkAlive(server, registration)
		if err != nil {
			return 0, nil, err
		}
		_ = view.Close()
	}
	term, err := s.node.Renew(ctx, server)
	if err != nil {
		return 0, nil, err
	}
	view, err := s.checkAlive(server, registration)
	return term, view, err
}

func (s *Server) checkAlive(server lock.Incarnation, registration uint64) (*sharedView, error) {
	view, err := s.openSharedView()
	if err != nil {
		return nil, err
	}
	who, ok, err := view.Server(server)
	switch {
	case err != nil:
	case ok && lock.Registration(who.Nonce) != registration:
		err = errOtherRegistration
	case !ok || !who.Alive:
		err = errServerGone
	}
	if err != nil {
		_ = view.Close()
		return nil, err
	}
	return view, nil
}

// unconfirmedAnswer is the status of a renewal without a stream that renewed nothing.
func (s *Server) unconfirmedAnswer(err error) error {
	if errors.Is(err, errRolledBack) {
		return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_ROLLED_BACK}, "")
	}
	if errors.Is(err, errServerGone) {
		return refusalError(&profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE}, "")
	}
	if errors.Is(err, errOtherRegistration) {
		return refuseOtherCluster(profilev1.Reason_REASON_OTHER_REGISTRATION, 0, s.node.Position())
	}
	return s.refusals.readError(err)
}
