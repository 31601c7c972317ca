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

// errServerGone says, proved, that an incarnation has ended or never was.
var errServerGone = errors.New("the incarnation has ended")

// errOtherRegistration says that another process registered an incarnation.
var errOtherRegistration = errors.New("the incarnation was registered by another process")

// answered is what the handler sends for one renewal; after the last one the stream ends.
type answered struct {
	events []*profilev1.Event
	last   bool
	err    error
}

// streamer is what one stream's renewals have shown, and been told. The goroutine that answers them alone uses it.
type streamer struct {
	registration uint64 // of the first renewal
	answered     bool   // the first was; its incarnation lived then, and was of that registration
	level        uint32 // that was announced
}

// Live serves one stream until either side ends it.
func (s profiles) Live(stream profilev1.Profiles_LiveServer) error {
	renewals := make(chan *profilev1.Renewal, 1)
	if !s.enter(func() { receive(stream, renewals) }) {
		return stream.Send(farewell(&profilev1.Goodbye{Leader: s.elsewhere()}))
	}
	first, err := s.first(stream, renewals)
	if first == nil {
		return err
	}

	if err := s.checkFirst(stream.Context(), first); err != nil { // before it takes the place of the rightful one's stream
		return err
	}
	box := s.hub.open(lock.Incarnation(first.GetIncarnation()))
	defer s.hub.leave(box)
	host, conn := cameFrom(stream.Context())
	seen := &cluster.Stream{Server: box.server, Peer: host}
	dismisses := false // this side ends the stream: what the peer does then proves nothing
	defer func() { s.node.NoteStreamEnd(seen, !dismisses && conn.endedByPeer()) }()
	answers := make(chan answered)
	ctx, cancel := context.WithCancel(stream.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { s.answer(ctx, box, seen, first, renewals, answers) })

	for {
		select {
		case event := <-box.events:
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
			return dismissed(stream, box)
		}
	}
}

// first waits for the renewal that names the incarnation. Without one there is nothing to do but to end.
func (s *Server) first(stream profilev1.Profiles_LiveServer, renewals <-chan *profilev1.Renewal) (*profilev1.Renewal, error) {
	patience := time.NewTimer(s.limits.Renewal)
	defer patience.Stop()
	select {
	case first, ok := <-renewals:
		if !ok {
			return nil, nil
		}
		if first.GetIncarnation() == 0 {
			return nil, shaped(0, invalid("the first renewal names no incarnation: register, then open the stream"))
		}
		return first, nil
	case <-patience.C:
		return nil, shaped(0, invalid("the stream brought no renewal for %v: send the first one at once", s.limits.Renewal))
	case <-s.life.Done():
		return nil, stream.Send(farewell(&profilev1.Goodbye{Leader: s.elsewhere()}))
	}
}

// dismissed sends what still waits, and why the stream ends.
func dismissed(stream profilev1.Profiles_LiveServer, box *mailbox) error {
	for {
		select {
		case event := <-box.events:
			if err := stream.Send(event); err != nil {
				return err
			}
			continue
		default:
		}
		return stream.Send(farewell(box.goodbye))
	}
}

// receive keeps the newest renewal: its answer is worth those of all before it. It ends with the stream.
func receive(stream profilev1.Profiles_LiveServer, renewals chan *profilev1.Renewal) {
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
		renewals <- r // room for one, and nobody else sends
	}
}

// answer answers renewals one after another until the stream ends.
func (s *Server) answer(ctx context.Context, box *mailbox, seen *cluster.Stream, r *profilev1.Renewal, renewals <-chan *profilev1.Renewal, answers chan<- answered) {
	defer close(answers)
	known := &streamer{registration: r.GetRegistration()}
	for {
		var a answered
		if err := s.checkLater(box.server, known, r); err != nil {
			a = answered{last: true, err: err}
		} else if err := s.safely("renew", func() error { a = s.renewal(ctx, box, seen, r, known); return nil }); err != nil {
			a = answered{last: true, err: s.unread(err)}
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

// renewal answers one. The owner's news come before the answer, so that no answer is taken without them.
func (s *Server) renewal(ctx context.Context, box *mailbox, seen *cluster.Stream, r *profilev1.Renewal, known *streamer) answered {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	nothing := answered{events: []*profilev1.Event{{What: &profilev1.Event_Renewed{Renewed: &profilev1.Renewed{Sequence: r.GetSequence()}}}}}

	term, view, err := s.prove(ctx, box.server, known.registration, !known.answered, r.GetSeen())
	var notLeader *cluster.NotLeaderError
	switch {
	case errors.Is(err, errRolledBack):
		return answered{last: true, err: s.unrenewed(err)}
	case errors.Is(err, errServerGone):
		return goodbye(&profilev1.Goodbye{ServerGone: true})
	case errors.Is(err, errOtherRegistration):
		return answered{last: true, err: s.unrenewed(err)}
	case errors.As(err, &notLeader):
		return goodbye(&profilev1.Goodbye{Leader: notLeader.Leader})
	case errors.Is(err, cluster.ErrClosed):
		return goodbye(&profilev1.Goodbye{Leader: s.elsewhere()})
	case err != nil:
		s.log.Debug("a renewal is unproven", "incarnation", box.server, "error", err)
		return nothing
	}
	defer func() { _ = view.Close() }()
	s.node.AddStream(seen)

	missed := box.missed.Swap(false)
	a, err := s.news(view, r, term, missed)
	if err != nil {
		s.log.Error("a renewal cannot be answered", "incarnation", box.server, "error", err)
		if missed {
			box.missed.Store(true)
		}
		return nothing
	}
	s.announce(known, view.Position().Level, a.events)
	return a
}

// announce adds level and features to the answer to a renewal, if the stream was told others or none.
func (s *Server) announce(known *streamer, level uint32, events []*profilev1.Event) {
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

func goodbye(g *profilev1.Goodbye) answered {
	return answered{events: []*profilev1.Event{farewell(g)}, last: true}
}

// prove proves the lead for a living incarnation, and returns the tables as they stood after it. Only proved tables say
// that an incarnation is gone: a follower's may not know it yet. An incarnation not known to be alive is looked up
// before the judge hears of it.
func (s *Server) prove(ctx context.Context, server lock.Incarnation, registration uint64, lookUp bool, seen uint64) (uint64, *glance, error) {
	s.node.NoteRequest(server)
	if lookUp || seen > s.node.LastIndex() {
		if _, err := s.node.ConfirmLeadership(ctx); err != nil {
			return 0, nil, err
		}
		if err := s.holdsAll(ctx, seen); err != nil {
			return 0, nil, err
		}
		view, err := s.living(server, registration)
		if err != nil {
			return 0, nil, err
		}
		_ = view.Close()
	}
	term, err := s.node.Renew(ctx, server)
	if err != nil {
		return 0, nil, err
	}
	view, err := s.living(server, registration)
	return term, view, err
}

func (s *Server) living(server lock.Incarnation, registration uint64) (*glance, error) {
	view, err := s.glance()
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

// unrenewed is the status of a renewal without a stream that renewed nothing.
func (s *Server) unrenewed(err error) error {
	if errors.Is(err, errRolledBack) {
		return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_ROLLED_BACK}, "")
	}
	if errors.Is(err, errServerGone) {
		return refuse(&profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE}, "")
	}
	if errors.Is(err, errOtherRegistration) {
		return refuseForeign(profilev1.Reason_REASON_OTHER_REGISTRATION, 0, s.node.Position())
	}
	return s.unread(err)
}
