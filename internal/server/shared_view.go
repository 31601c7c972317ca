package server

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// sharedViews let renewals that were confirmed by one round share one look at the tables. Whoever asked before the view was
// opened may read it: it holds the state at the caller's confirmation, or a later one.
type sharedViews struct {
	turn chan struct{} // holds a token while no view is being opened

	mu   sync.Mutex
	next *sharedView // nil: no caller waits for one
}

// sharedView is a view, with the rows that every renewal reads.
type sharedView struct {
	*View
	nodes     []string                              // where clients reach the nodes
	gossip    []string                              // and where these gossip with game servers
	living    uint64                                // count of the living incarnations
	contested map[lock.Incarnation][]fsm.OwnedGrant // nil: too many to list, each is looked up

	opened chan struct{}
	err    error // written before opened is closed
	users  atomic.Int64
}

// contestedMost is how many contested grants a glance lists.
const contestedMost = 64

func newSharedViews() *sharedViews {
	g := &sharedViews{turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	return g
}

// openSharedView opens a view, or shares one that is opened after the call began. It must be closed.
func (s *Server) openSharedView() (*sharedView, error) {
	gs := s.views
	gs.mu.Lock()
	g, mine := gs.next, gs.next == nil
	if mine {
		g = &sharedView{opened: make(chan struct{})}
		gs.next = g
	}
	g.users.Add(1)
	gs.mu.Unlock()
	if mine {
		gs.openFor(g, s.node)
	}
	<-g.opened
	if g.err != nil {
		return nil, g.err
	}
	return g, nil
}

// openFor opens one after the other: while it waits for its turn, others join.
func (gs *sharedViews) openFor(g *sharedView, node Node) {
	<-gs.turn
	defer func() { gs.turn <- struct{}{} }()
	gs.mu.Lock()
	gs.next = nil // callers from here on need a newer one
	gs.mu.Unlock()
	g.err = errors.New("the look at the tables was broken off") // unless it comes to its end
	defer close(g.opened)
	g.err = g.openView(node)
}

func (g *sharedView) openView(node Node) error {
	view, err := node.View()
	if err != nil {
		return err
	}
	if err := g.readView(view); err != nil {
		_ = view.Close()
		return err
	}
	g.View = view
	return nil
}

func (g *sharedView) readView(view *View) (err error) {
	if g.nodes, g.gossip, err = nodeAddresses(view); err != nil {
		return err
	}
	if g.living, err = view.CountLiving(); err != nil {
		return err
	}
	contested, err := view.Contested(0, contestedMost)
	if err != nil || len(contested) == contestedMost {
		return err
	}
	g.contested = make(map[lock.Incarnation][]fsm.OwnedGrant)
	for _, c := range contested {
		g.contested[c.Owner] = append(g.contested[c.Owner], c)
	}
	return nil
}

// contestedOf lists a living incarnation's grants that have waiters or were revoked.
func (g *sharedView) contestedOf(server lock.Incarnation) ([]fsm.OwnedGrant, error) {
	if g.contested == nil {
		return g.Contested(server, 0)
	}
	return g.contested[server], nil
}

// addHolder adds another user, which must close it too.
func (g *sharedView) addHolder() *sharedView {
	g.users.Add(1)
	return g
}

// Close lets go of it; the view closes with the last.
func (g *sharedView) Close() error {
	if g.users.Add(-1) == 0 {
		return g.View.Close()
	}
	return nil
}
