package server

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// unaryEvents is how many bytes of names the events of an answer without a stream may have, and mailMost how many
// profiles with messages one answer names; the others come again, since each answer reads the tables again.
const (
	unaryEvents = 1 << 20
	mailMost    = 1000
)

// collectEvents reads from the tables all that concerns a game server that renewed: first its losses and the requests to let
// go, then the answer itself. Events push the same things sooner; that makes it safe to lose them.
func (s *Server) collectEvents(view *sharedView, r *profilev1.Renewal, term uint64, missed bool) (renewalAnswer, error) {
	server := lock.Incarnation(r.GetIncarnation())
	revoked, wanted, err := s.contestedEvents(view, server)
	if err != nil {
		return renewalAnswer{}, err
	}
	a := renewalAnswer{events: slices.Concat(revoked, wanted)}
	renewed, err := s.compareGrants(view, r)
	if err != nil {
		return a, err
	}
	renewed.ConfirmedTerm = term
	a.events = append(a.events, &profilev1.Event{What: &profilev1.Event_Renewed{Renewed: renewed}})
	if !missed {
		return a, nil
	}
	waiting, err := waitingMessageEvents(view.View, server)
	a.events = append(a.events, waiting...)
	return a, err
}

// contestedEvents are a game server's losses and the requests to let go. All that was revoked has to reach it before it counts
// an answer: the next owner's grant counts on it that no confirmed answer to this one was without.
func (s *Server) contestedEvents(view *sharedView, server lock.Incarnation) (revoked, wanted []*profilev1.Event, err error) {
	contested, err := view.contestedOf(server)
	for _, g := range contested {
		switch {
		case g.Owner != server:
		case g.Revoked:
			lost := lostEvent(g.Store, g.Key, g.Token, g.Cause)
			lost.GetLost().By = askerIn(view.View, g.GrantRow)
			revoked = append(revoked, lost)
		case g.Wanted():
			letGo := letGoEvent(g.Store, g.Key, g.Token, g.Asked)
			letGo.GetLetGo().By = askerIn(view.View, g.GrantRow)
			if pending, ok := s.node.PendingSince(g); ok {
				letGo.GetLetGo().PendingMs = pending.Milliseconds()
			}
			wanted = append(wanted, letGo)
		}
	}
	return revoked, wanted, err
}

// askerIn is the tool or the game server that a session was or is to be ended for: the one that the grant names, else the one
// that waits first. It is nil if there is none, or it cannot be read.
func askerIn(view *View, grant fsm.GrantRow) *profilev1.Owner {
	if grant.By.Incarnation == 0 && len(grant.Waiters) > 0 {
		owner, err := ownerIn(view, grant.Waiters[0].Server)
		if err != nil {
			return nil
		}
		return owner
	}
	return namedAskerIn(view, grant)
}

// namedAskerIn is the tool or the game server that a grant names as the one which asked for its end or forced it. It may be
// forgotten as an incarnation: the grant has its name.
func namedAskerIn(view *View, grant fsm.GrantRow) *profilev1.Owner {
	by := partyToWire(grant.By)
	if by != nil {
		row, _, err := view.Server(grant.By.Incarnation)
		by.InForce = err == nil && row.Alive
	}
	return by
}

// successorIn is the one for which a session under a token has ended: the present owner if the profile has passed on, else
// the one that asked for the end or forced it.
func successorIn(view *View, grant fsm.GrantRow, token lock.Token) *profilev1.Owner {
	if grant.Token == token {
		return askerIn(view, grant)
	}
	owner, err := ownerIn(view, grant.Owner)
	if err != nil {
		return nil
	}
	return owner
}

// addAsker adds to the event of a loss, or of a request to let go, the tool or the game server that it is for, if the profile has
// not passed on since.
func (s *Server) addAsker(event *profilev1.Event) {
	lost, letGo := event.GetLost(), event.GetLetGo()
	if lost == nil && letGo == nil {
		return
	}
	view, err := s.node.View()
	if err != nil {
		return
	}
	defer func() { _ = view.Close() }()
	if lost != nil {
		if grant, err := view.Grant(lost.Store, lost.Key); err == nil && uint64(grant.Token) == lost.Token {
			lost.By = askerIn(view, grant)
		}
		return
	}
	if grant, err := view.Grant(letGo.Store, letGo.Key); err == nil && uint64(grant.Token) == letGo.Token {
		letGo.By = askerIn(view, grant)
	}
}

// addUnaryEvents is the answer to a renewal without a stream, with all that a stream would have brought. One that cannot hold
// all that was revoked confirms nothing.
func (s *Server) addUnaryEvents(view *sharedView, r *profilev1.Renewal, term uint64) (*profilev1.Renewed, error) {
	server := lock.Incarnation(r.GetIncarnation())
	revoked, wanted, err := s.contestedEvents(view, server)
	if err != nil {
		return nil, err
	}
	waiting, err := waitingMessageEvents(view.View, server)
	if err != nil {
		return nil, err
	}
	renewed, err := s.compareGrants(view, r)
	if err != nil {
		return nil, err
	}
	renewed.ConfirmedTerm = term
	left := unaryEvents
	for i, event := range slices.Concat(revoked, wanted, waiting) {
		if left -= proto.Size(event); left < 0 {
			if i < len(revoked) {
				renewed.ConfirmedTerm = 0
			}
			break
		}
		renewed.Events = append(renewed.Events, event)
	}
	return renewed, nil
}

// waitingMessageEvents says which of a game server's profiles have messages, for a caller that may have missed it. It reads no
// message.
func waitingMessageEvents(view *View, server lock.Incarnation) ([]*profilev1.Event, error) {
	list, err := view.OwnedInboxes(server, mailMost)
	if err != nil {
		return nil, err
	}
	var events []*profilev1.Event
	for _, m := range list {
		if !m.Revoked {
			events = append(events, messageWaitsEvent(m.Store, m.Key, m.Last))
		}
	}
	return events, nil
}
