package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/profilenode/profilenode/internal/wire"
)

// nodeSet is the nodes that this client speaks to, with the last answer of each.
type nodeSet struct {
	*wire.Nodes
	log *slog.Logger

	mu      sync.Mutex
	states  map[string]nodeState
	foreign map[string]bool // addresses that refused a request as meant for another cluster or epoch; logged once
}

func newNodeSet(config Config) *nodeSet {
	link := wire.LinkConfig{Dial: config.hooks.Dial, Options: config.hooks.DialOptions}
	if config.TLS != nil {
		link.Credentials = credentials.NewTLS(config.TLS)
	}
	return &nodeSet{
		Nodes:  wire.NewNodes(wire.NodesConfig{LinkConfig: link, Seeds: config.Seeds, Permit: config.permitAddress}),
		log:    config.Log,
		states: make(map[string]nodeState), foreign: make(map[string]bool),
	}
}

// noteLeader notes that a node leads, as it showed itself or as another one said.
func (n *nodeSet) noteLeader(addr string) { n.logForbiddenLeader(n.NoteLeader(addr)) }

// logForbiddenLeader logs that a leader may not be spoken to, if there is such an error.
func (n *nodeSet) logForbiddenLeader(err error) {
	if err != nil {
		n.log.Error("a node names a leader that this client may not speak to", "error", err)
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
