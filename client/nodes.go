package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/internal/wire"
)

// nodeSet keeps a warm connection to every node that it has heard of, and knows which of them led last.
type nodeSet struct {
	config Config

	mu     sync.Mutex
	conns  map[string]*wire.Link
	seeds  []string
	given  []string // those that a node listed last as the cluster's; empty: none did yet
	order  []string // every known address, the seeds first
	next   int      // place in order of the node to ask next while no leader is known
	leader string   // empty: not known
	states map[string]nodeState
	closed bool

	foreign map[string]bool // addresses that refused a request as meant for another cluster or epoch; logged once
}

func newNodeSet(config Config) *nodeSet {
	return &nodeSet{
		config: config,
		conns:  make(map[string]*wire.Link),
		states: make(map[string]nodeState),
		seeds:  slices.Clone(config.Seeds),
		order:  slices.Clone(config.Seeds),

		foreign: make(map[string]bool),
	}
}

// nodeToAsk is the node to ask: the leader as far as known, else each in turn.
func (n *nodeSet) nodeToAsk() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader != "" {
		return n.leader
	}
	return n.order[n.next%len(n.order)]
}

// knownLeader is the leader as far as known, else empty.
func (n *nodeSet) knownLeader() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader
}

// anyNode is each node in turn, for reads that need no leader.
func (n *nodeSet) anyNode() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	return n.order[n.next%len(n.order)]
}

// noteLeader notes that a node leads, as it showed itself or as another one said.
func (n *nodeSet) noteLeader(addr string) {
	if addr == "" {
		return
	}
	if err := n.config.permitAddress(addr); err != nil {
		n.config.Log.Error("a node names a leader that this client may not speak to", "error", err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.order, addr) {
		n.order = append(n.order, addr)
	}
	n.leader = addr
}

// notePassed notes that a node does not lead, or does not answer: the next one is asked.
func (n *nodeSet) notePassed(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader == addr {
		n.leader = ""
	}
	if n.order[n.next%len(n.order)] == addr {
		n.next++
	}
}

// isFirstForeignRefusal notes that a node refused a request as meant for another cluster or epoch, and says whether it is
// the first time: only that one is logged.
func (n *nodeSet) isFirstForeignRefusal(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := !n.foreign[addr]
	n.foreign[addr] = true
	return first
}

// learnAddresses takes the addresses that a node listed. Those that are listed no more are left, the seeds never.
func (n *nodeSet) learnAddresses(addrs []string) {
	if len(addrs) == 0 {
		return
	}
	n.mu.Lock()
	order := slices.Clone(n.seeds)
	for _, addr := range addrs {
		if !slices.Contains(order, addr) && n.config.permitAddress(addr) == nil {
			order = append(order, addr)
		}
	}
	n.given, n.order = slices.Clone(addrs), order
	var left []*wire.Link
	for addr, conn := range n.conns {
		if addr != n.leader && !slices.Contains(order, addr) {
			left = append(left, conn)
			delete(n.conns, addr)
		}
	}
	n.mu.Unlock()
	for _, conn := range left {
		conn.Close()
	}
	n.connectAhead()
}

// connectAhead begins to connect to every node that is not connected.
func (n *nodeSet) connectAhead() {
	n.mu.Lock()
	order := slices.Clone(n.order)
	n.mu.Unlock()
	for _, addr := range order {
		if conn, err := n.linkTo(addr); err == nil {
			conn.Begin()
		}
	}
}

func (n *nodeSet) linkTo(addr string) (*wire.Link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if conn := n.conns[addr]; conn != nil {
		return conn, nil
	}
	conn, err := n.config.connectTo(addr)
	if err == nil {
		n.conns[addr] = conn
	}
	return conn, err
}

// readyLink is a connection over which a request can leave at once. An error means that nothing was sent.
func (n *nodeSet) readyLink(ctx context.Context, addr string) (*wire.Link, error) {
	conn, err := n.linkTo(addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.WaitReady(ctx)
}

// replaceLink makes the next request to a node travel on a new connection. The old one ends with its last request.
func (n *nodeSet) replaceLink(addr string, old *wire.Link) {
	n.mu.Lock()
	if n.conns[addr] == old {
		delete(n.conns, addr)
	}
	n.mu.Unlock()
	old.Retire()
}

func (n *nodeSet) close() {
	n.mu.Lock()
	n.closed = true
	conns := n.conns
	n.conns = nil
	n.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

// connectTo makes a connection of its own to a node.
func (c Config) connectTo(addr string) (*wire.Link, error) {
	if err := c.permitAddress(addr); err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if c.TLS != nil {
		creds = credentials.NewTLS(c.TLS)
	}
	return wire.Connect(addr, creds, c.hooks.Dial, c.hooks.DialOptions...)
}

// permitAddress refuses to speak in the clear to another machine unless that was written out.
func (c Config) permitAddress(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q is not host:port", addr)
	}
	if c.TLS != nil || c.Insecure || host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("node " + addr + " is on another machine: set TLS, or Insecure to speak in the clear")
}
