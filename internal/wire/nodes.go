package wire

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
)

// NodesConfig says how a Nodes connects, and how long its Call goes on.
type NodesConfig struct {
	LinkConfig
	Seeds  []string                   // client addresses of some nodes, at least one
	Permit func(address string) error // an error keeps this side from connecting there; nil: no address is refused

	// OnForbiddenLeader is told when a node names a leader that Permit refuses, by whichever goroutine learns it. nil: no
	// function is called.
	OnForbiddenLeader func(address string, err error)

	// OnFailure is told of each copy of a Call that was not carried out, and true ends the Call. nil: a Call ends with its
	// context or by a refusal that asking again would not change.
	OnFailure func(ctx context.Context, a Attempt) (giveUp bool)
}

// Nodes keeps a warm connection to every node that it has heard of, or to few, and knows which of them led last.
type Nodes struct {
	config NodesConfig

	mu     sync.Mutex
	links  map[string]*Link
	given  []string // those that a node listed last as the cluster's; empty: none did yet
	order  []string // every known address, the seeds first
	next   int      // place in order of the node to ask next while no leader is known
	leader string   // empty: not known
	few    bool     // warm connections go to the leader and to second only
	second string   // with few: a node beside the leader, empty until one is chosen
	closed bool
}

// NewNodes connects to nothing yet.
func NewNodes(config NodesConfig) *Nodes {
	config.Seeds = slices.Clone(config.Seeds)
	return &Nodes{config: config, links: make(map[string]*Link), order: slices.Clone(config.Seeds)}
}

// NodeToAsk is the leader as far as known, else each node in turn.
func (n *Nodes) NodeToAsk() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader != "" {
		return n.leader
	}
	return n.order[n.next%len(n.order)]
}

// Leader is the leader as far as known, else empty.
func (n *Nodes) Leader() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader
}

// AnyNode is each node in turn, for reads that need no leader; with few connections, each of those that have one.
func (n *Nodes) AnyNode() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	if pair := [2]string{n.leader, n.second}; n.few && pair[0] != "" && pair[1] != "" {
		return pair[n.next%2]
	}
	return n.order[n.next%len(n.order)]
}

// KeepFew says whether connections go to the leader and one more node only, instead of to every node.
func (n *Nodes) KeepFew(few bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.few = few
}

// Addresses are all known addresses, the seeds first.
func (n *Nodes) Addresses() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.order)
}

// GivenAddresses are the addresses that a node listed last as the cluster's, none if no node did yet.
func (n *Nodes) GivenAddresses() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.given)
}

// NoteLeader notes that a node leads, as it showed itself or as another one said. Empty says nothing.
func (n *Nodes) NoteLeader(address string) {
	if address == "" {
		return
	}
	if err := n.permit(address); err != nil {
		if n.config.OnForbiddenLeader != nil {
			n.config.OnForbiddenLeader(address, err)
		}
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.order, address) {
		n.order = append(n.order, address)
	}
	n.leader = address
}

// NotePassed notes that a node does not lead, or does not answer: the next one is asked.
func (n *Nodes) NotePassed(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader == address {
		n.leader = ""
	}
	if n.order[n.next%len(n.order)] == address {
		n.next++
	}
}

// LearnAddresses takes the addresses that a node listed, and begins to connect to them. Those that are listed no more are
// left, the seeds never. An empty list says nothing.
func (n *Nodes) LearnAddresses(addresses []string) {
	if len(addresses) == 0 {
		return
	}
	n.mu.Lock()
	order := slices.Clone(n.config.Seeds)
	for _, address := range addresses {
		if !slices.Contains(order, address) && n.permit(address) == nil {
			order = append(order, address)
		}
	}
	n.given, n.order = slices.Clone(addresses), order
	var left []*Link
	for address, link := range n.links {
		if address != n.leader && !slices.Contains(order, address) {
			left = append(left, link)
			delete(n.links, address)
		}
	}
	n.mu.Unlock()
	for _, link := range left {
		link.Close()
	}
	n.ConnectAhead()
}

// ConnectAhead begins to connect to every node that is not connected. With few connections it does so to the leader and one
// more, and lets go of the others; while no leader is known it leaves everything as it is.
func (n *Nodes) ConnectAhead() {
	n.mu.Lock()
	addresses, surplus := slices.Clone(n.order), []*Link(nil)
	if n.few {
		addresses, surplus = n.chooseFew()
	}
	n.mu.Unlock()
	for _, link := range surplus {
		link.Retire()
	}
	for _, address := range addresses {
		if link, err := n.linkTo(address); err == nil {
			link.Begin()
		}
	}
}

// chooseFew returns the addresses of the few nodes to be connected to, and takes out the links to others. The second node is
// drawn at random, so that the game servers spread, and drawn again when it cannot be reached.
func (n *Nodes) chooseFew() (addresses []string, surplus []*Link) {
	if n.leader == "" {
		return nil, nil
	}
	known := n.given
	if len(known) == 0 {
		known = n.order
	}
	if link := n.links[n.second]; n.second == n.leader || !slices.Contains(known, n.second) || link != nil && link.hasFailed() {
		n.second = ""
		others := slices.DeleteFunc(slices.Clone(known), func(address string) bool { return address == n.leader })
		if len(others) > 0 {
			n.second = others[rand.N(len(others))]
		}
	}
	for address, link := range n.links {
		if address != n.leader && address != n.second {
			surplus = append(surplus, link)
			delete(n.links, address)
		}
	}
	addresses = []string{n.leader}
	if n.second != "" {
		addresses = append(addresses, n.second)
	}
	return addresses, surplus
}

func (n *Nodes) permit(address string) error {
	if n.config.Permit == nil {
		return nil
	}
	return n.config.Permit(address)
}

// Connect makes a connection to a node that is the caller's own, for a stream.
func (n *Nodes) Connect(address string) (*Link, error) {
	if err := n.permit(address); err != nil {
		return nil, err
	}
	return Connect(address, n.config.LinkConfig)
}

var errNodesClosed = errors.New("the connections to the nodes are closed")

func (n *Nodes) linkTo(address string) (*Link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errNodesClosed
	}
	if link := n.links[address]; link != nil {
		return link, nil
	}
	link, err := n.Connect(address)
	if err == nil {
		n.links[address] = link
	}
	return link, err
}

// ReadyLink is the connection to a node once a request can leave over it. With an error nothing was sent, and the link is
// nil if this side may not connect there.
func (n *Nodes) ReadyLink(ctx context.Context, address string) (*Link, error) {
	link, err := n.linkTo(address)
	if err != nil {
		return nil, err
	}
	return link, link.WaitReady(ctx)
}

// replaceLink makes the next request to a node travel on a new connection. The old one ends with its last request.
func (n *Nodes) replaceLink(address string, old *Link) {
	n.mu.Lock()
	if n.links[address] == old {
		delete(n.links, address)
	}
	n.mu.Unlock()
	old.Retire()
}

// Close ends every connection, and the requests on them.
func (n *Nodes) Close() {
	n.mu.Lock()
	n.closed = true
	links := n.links
	n.links = nil
	n.mu.Unlock()
	for _, link := range links {
		link.Close()
	}
}
