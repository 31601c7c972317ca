package server

import (
	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/lock"
)

// news is what the tables have to say to a game server that renewed: first what it lost and what it is asked for, then
// the answer itself. Events push the same things sooner; this is what makes it safe to lose them. All that was revoked
// has to come along: the next owner's grant counts on it that no answer to this one was without.
func (s *Server) news(view *glance, r *profilev1.Renewal, term uint64, missed bool) (answered, error) {
	server := lock.Incarnation(r.GetIncarnation())
	var a answered
	contested, err := view.contestedOf(server)
	if err != nil {
		return a, err
	}
	for _, g := range contested {
		switch {
		case g.Owner != server:
		case g.Revoked:
			a.events = append(a.events, lost(g.Store, g.Key, g.Token, g.Cause))
		case g.Wanted():
			a.events = append(a.events, letGo(g.Store, g.Key, g.Token, g.Asked))
		}
	}
	renewed, err := compare(view, r)
	if err != nil {
		return a, err
	}
	renewed.ProvedTerm = term
	a.events = append(a.events, &profilev1.Event{What: &profilev1.Event_Renewed{Renewed: renewed}})
	if !missed {
		return a, nil
	}
	waiting, err := mail(view.View, server)
	a.events = append(a.events, waiting...)
	return a, err
}

// compare holds the caller's held set against the log's. They differ for a moment whenever a grant or a release is on
// its way: that is only information.
func compare(view *glance, r *profilev1.Renewal) (*profilev1.Renewed, error) {
	server := lock.Incarnation(r.GetIncarnation())
	count, hash, err := view.Held(server)
	if err != nil {
		return nil, err
	}
	renewed := &profilev1.Renewed{Sequence: r.GetSequence(), Index: view.Standing().Index, Nodes: view.nodes, Gossip: view.gossip}
	if uint64(count) == r.GetHeldCount() && hash == r.GetHeldHash() {
		return renewed, nil
	}
	renewed.Differs = true
	grants, err := view.GrantsOf(server)
	if err != nil {
		return nil, err
	}
	for _, g := range grants {
		if g.Owner != server || g.Revoked {
			continue
		}
		renewed.Grants = append(renewed.Grants, &profilev1.Granted{
			Store: g.Store, Key: g.Key, Token: uint64(g.Token), Ticket: uint64(g.Ticket), LetGo: g.Wanted(),
		})
	}
	return renewed, nil
}

// mail says which of a game server's profiles have messages, for a stream that may have missed it.
func mail(view *View, server lock.Incarnation) ([]*profilev1.Event, error) {
	grants, err := view.GrantsOf(server)
	if err != nil {
		return nil, err
	}
	var events []*profilev1.Event
	for _, g := range grants {
		box, err := view.Mailbox(g.Store, g.Key)
		if err != nil {
			return nil, err
		}
		if box.Waiting == 0 || g.Owner != server || g.Revoked {
			continue
		}
		last, err := lastMessage(view, g.Store, g.Key)
		if err != nil {
			return nil, err
		}
		events = append(events, messageWaits(g.Store, g.Key, last))
	}
	return events, nil
}

// lastMessage is the id of the newest message, read a page at a time since bodies are large.
func lastMessage(view *View, store, key string) (last uint64, err error) {
	for {
		page, err := view.Messages(store, key, last, messagePage)
		if err != nil || len(page) == 0 {
			return last, err
		}
		last = page[len(page)-1].ID
	}
}
