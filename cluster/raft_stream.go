package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// raftAddress is how raft's configuration names a node: an address alone may be another node's tomorrow.
func raftAddress(id, address string) raft.ServerAddress {
	return raft.ServerAddress(id + "@" + address)
}

func splitRaftAddress(a raft.ServerAddress) (id, address string, err error) {
	id, address, ok := strings.Cut(string(a), "@")
	if !ok {
		return "", "", fmt.Errorf("raft address %q is not id@host:port", a)
	}
	return id, address, nil
}

// hostPort is the second half of a raft address.
func hostPort(a raft.ServerAddress) string {
	_, address, _ := strings.Cut(string(a), "@")
	return address
}

// raftStreamLayer is the transport as raft's own sees it. The port stays the transport's.
type raftStreamLayer struct {
	transport *transport
	closed    chan struct{} // closed by raft's transport, once
}

var _ raft.StreamLayer = raftStreamLayer{}

type raftStreamAddr string

func (raftStreamAddr) Network() string  { return "node" }
func (a raftStreamAddr) String() string { return string(a) }

func (s raftStreamLayer) Addr() net.Addr {
	return raftStreamAddr(raftAddress(s.transport.id, s.transport.address))
}

func (s raftStreamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-s.transport.raftConns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s raftStreamLayer) Close() error {
	close(s.closed)
	return nil
}

func (s raftStreamLayer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, address, err := splitRaftAddress(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.transport.ctx, timeout)
	defer cancel()
	return s.transport.dialNode(ctx, address, openingFrame{kind: kindRaft, cluster: s.transport.clusterID(), target: id})
}

const (
	// maxAppendEntries go to a follower in one call, and one call at a time: 32 MiB at most, half of rpcTimeout at 100 Mbit/s, or
	// a call would be given up and sent again without end. Far fewer would hold back a follower that is 20 ms away from two
	// that are near each other and commit a thousand entries a second without it.
	maxAppendEntries = 32
	// rpcTimeout bounds one of raft's calls; liveness is the heartbeats'.
	rpcTimeout = 5 * time.Second
)

// newRaftTransport has no pipeline. Raft stops reading a pipeline's answers at the first that is no success, and may send once
// more before it notices: that send then waits without end. The follower goes on getting heartbeats and never another entry,
// and the leader's raft never shuts down.
func newRaftTransport(t *transport, log raftLog) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          raftStreamLayer{transport: t, closed: make(chan struct{})},
		MaxPool:         3,
		MaxRPCsInFlight: 1,
		Timeout:         rpcTimeout,
		Logger:          log,
	})
}
