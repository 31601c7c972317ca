package client

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/profilenode/profilenode/internal/wire"
)

// nodeSet is the nodes that this client speaks to, with the last answer of each.
type nodeSet struct {
	*wire.Nodes

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
		Nodes: wire.NewNodes(wire.NodesConfig{
			LinkConfig: link, Seeds: config.Seeds, Permit: config.permitAddress,
			OnForbiddenLeader: func(_ string, err error) {
				config.Log.Error("a node names a leader that this client may not speak to", "error", err)
			},
		}),
		states: make(map[string]nodeState), foreign: make(map[string]bool),
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
