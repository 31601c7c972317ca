package server

import (
	"sync"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	grantBytes      = 256 << 10        // of names in one page of a comparison, about
	comparisonFor   = 10 * time.Second // how long the tables of a comparison are kept for its next page
	comparisonsMost = 64               // comparisons under way; another one ends the oldest
)

// pagedComparison is the tables at the index at which the pages of one comparison list an incarnation's grants.
type pagedComparison struct {
	view  *sharedView
	began time.Time
	end   *time.Timer
}

// comparisonBook are those under way, one for an incarnation at most. One that is gone begins again.
type comparisonBook struct {
	mu     sync.Mutex
	of     map[lock.Incarnation]*pagedComparison
	closed bool
}

// takeComparison takes out the comparison that an incarnation asks for; nil: it is gone. Its view must be closed, or kept
// again.
func (cs *comparisonBook) takeComparison(server lock.Incarnation, index uint64) *sharedView {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of[server]
	if c == nil || c.view.Position().Index != index {
		return nil
	}
	delete(cs.of, server)
	c.end.Stop()
	return c.view
}

// keepComparison keeps a view, which the caller gives up, for the next page.
func (cs *comparisonBook) keepComparison(server lock.Incarnation, view *sharedView) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		_ = view.Close()
		return
	}
	cs.dropComparison(server)
	if len(cs.of) >= comparisonsMost {
		oldest := lock.Incarnation(0)
		for id, c := range cs.of {
			if oldest == 0 || c.began.Before(cs.of[oldest].began) {
				oldest = id
			}
		}
		cs.dropComparison(oldest)
	}
	c := &pagedComparison{view: view, began: time.Now()}
	c.end = time.AfterFunc(comparisonFor, func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if cs.of[server] == c {
			cs.dropComparison(server)
		}
	})
	cs.of[server] = c
}

// dropComparison needs mu.
func (cs *comparisonBook) dropComparison(server lock.Incarnation) {
	if c := cs.of[server]; c != nil {
		c.end.Stop()
		_ = c.view.Close()
		delete(cs.of, server)
	}
}

// closeAll ends them all: the tables are not read afterwards.
func (cs *comparisonBook) closeAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	for server := range cs.of {
		cs.dropComparison(server)
	}
}

// compareGrants holds the caller's held set against the log's. They differ for a moment whenever a grant or a release is on
// its way: that is only information. The grants come in pages, all of one comparison at one index.
func (s *Server) compareGrants(view *sharedView, r *profilev1.Renewal) (*profilev1.Renewed, error) {
	server := lock.Incarnation(r.GetIncarnation())
	renewed := &profilev1.Renewed{Sequence: r.GetSequence(), Index: view.Position().Index, Nodes: view.nodes, Gossip: view.gossip, FewConnections: s.fewConns.decide(view.living)}
	if page := r.GetPage(); page != nil {
		if kept := s.comparisons.takeComparison(server, page.GetComparison()); kept != nil {
			return renewed, s.addPage(kept, server, page.GetAfterStore(), page.GetAfterKey(), renewed)
		}
		// It is gone: the following page begins another one.
	}
	count, hash, err := view.Held(server)
	if err != nil {
		return nil, err
	}
	if uint64(count) == r.GetHeldCount() && hash == r.GetHeldHash() {
		return renewed, nil
	}
	return renewed, s.addPage(view.addHolder(), server, "", "", renewed)
}

// addPage adds the grants after a profile, and keeps the view, which it takes over, if there are more.
func (s *Server) addPage(view *sharedView, server lock.Incarnation, store, key string, renewed *profilev1.Renewed) error {
	renewed.Differs, renewed.Comparison = true, view.Position().Index
	contested, err := contestedByProfile(view, server)
	if err != nil {
		_ = view.Close()
		return err
	}
	grants, more, err := view.TokensAfter(server, store, key, s.limits.GrantsPage)
	if err != nil {
		_ = view.Close()
		return err
	}
	bytes := 0
	for _, g := range grants {
		if bytes > grantBytes {
			more = true
			break
		}
		bytes += len(g.Store) + len(g.Key)
		renewed.Last = &profilev1.Page{Comparison: renewed.Comparison, AfterStore: g.Store, AfterKey: g.Key}
		contest := contested[profileName{g.Store, g.Key}]
		if contest.Revoked {
			continue
		}
		renewed.Grants = append(renewed.Grants, &profilev1.Granted{
			Store: g.Store, Key: g.Key, Token: uint64(g.Token), Ticket: uint64(g.Ticket), LetGo: contest.Wanted(),
		})
	}
	if !more {
		renewed.Last = nil
		return view.Close()
	}
	s.comparisons.keepComparison(server, view)
	return nil
}

type profileName struct{ store, key string }

// contestedByProfile reads those of a living incarnation's grants that have waiters or were revoked.
func contestedByProfile(view *sharedView, server lock.Incarnation) (map[profileName]fsm.GrantRow, error) {
	list, err := view.contestedOf(server)
	contested := make(map[profileName]fsm.GrantRow, len(list))
	for _, g := range list {
		contested[profileName{g.Store, g.Key}] = g.GrantRow
	}
	return contested, err
}
