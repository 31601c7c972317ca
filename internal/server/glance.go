package server

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// glances let renewals that were proved by one round share one look at the tables. Whoever asked before the view was
// opened may read it: what was true at its own proof is in there, or something later.
type glances struct {
	turn chan struct{} // holds a token while nobody opens a view

	mu   sync.Mutex
	next *glance // nil: nobody waits for one
}

// glance is a view, and what every renewal reads of it.
type glance struct {
	*View
	nodes     []string                              // where clients reach the nodes
	gossip    []string                              // and where these gossip with game servers
	contested map[lock.Incarnation][]fsm.OwnedGrant // nil: too many to list, each is looked up

	opened chan struct{}
	err    error // written before opened is closed
	users  atomic.Int64
}

// contestedMost is how many contested grants a glance lists.
const contestedMost = 64

func newGlances() *glances {
	g := &glances{turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	return g
}

// glance opens a view, or shares one that is opened after the call began. It must be closed.
func (s *Server) glance() (*glance, error) {
	gs := s.glances
	gs.mu.Lock()
	g, mine := gs.next, gs.next == nil
	if mine {
		g = &glance{opened: make(chan struct{})}
		gs.next = g
	}
	g.users.Add(1)
	gs.mu.Unlock()
	if mine {
		gs.open(g, s.node)
	}
	<-g.opened
	if g.err != nil {
		return nil, g.err
	}
	return g, nil
}

// open opens one after the other: while it waits for its turn, others join.
func (gs *glances) open(g *glance, node Node) {
	<-gs.turn
	defer func() { gs.turn <- struct{}{} }()
	gs.mu.Lock()
	gs.next = nil // who comes from here on needs a newer one
	gs.mu.Unlock()
	g.err = errors.New("the look at the tables was broken off") // unless it comes to its end
	defer close(g.opened)
	g.err = g.open(node)
}

func (g *glance) open(node Node) error {
	view, err := node.View()
	if err != nil {
		return err
	}
	if err := g.read(view); err != nil {
		_ = view.Close()
		return err
	}
	g.View = view
	return nil
}

func (g *glance) read(view *View) (err error) {
	if g.nodes, g.gossip, err = addresses(view); err != nil {
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

// contestedOf lists a living incarnation's grants that somebody waits for or that were revoked.
func (g *glance) contestedOf(server lock.Incarnation) ([]fsm.OwnedGrant, error) {
	if g.contested == nil {
		return g.Contested(server, 0)
	}
	return g.contested[server], nil
}

// share is for another user, who must close it too.
func (g *glance) share() *glance {
	g.users.Add(1)
	return g
}

// Close lets go of it; the view closes with the last.
func (g *glance) Close() error {
	if g.users.Add(-1) == 0 {
		return g.View.Close()
	}
	return nil
}
