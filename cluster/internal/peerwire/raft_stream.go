package peerwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// RaftAddress returns the address of a node in raft's configuration. It names the id too, since the same host:port may
// later belong to another node.
func RaftAddress(id, address string) raft.ServerAddress {
	return raft.ServerAddress(id + "@" + address)
}

func splitRaftAddress(a raft.ServerAddress) (id, address string, err error) {
	id, address, ok := strings.Cut(string(a), "@")
	if !ok {
		return "", "", fmt.Errorf("raft address %q is not id@host:port", a)
	}
	return id, address, nil
}

// HostPort returns the host:port of a raft address.
func HostPort(a raft.ServerAddress) string {
	_, address, _ := strings.Cut(string(a), "@")
	return address
}

// raftStreamLayer is a Port as raft's network transport uses it. Closing it leaves the port open.
type raftStreamLayer struct {
	port   *Port
	closed chan struct{} // closed once, by raft's network transport
}

var _ raft.StreamLayer = raftStreamLayer{}

type raftStreamAddr string

func (raftStreamAddr) Network() string  { return "node" }
func (a raftStreamAddr) String() string { return string(a) }

func (s raftStreamLayer) Addr() net.Addr {
	return raftStreamAddr(RaftAddress(s.port.config.ID, s.port.config.Advertise))
}

func (s raftStreamLayer) Accept() (net.Conn, error) {
	select {
	case c := <-s.port.raftConns:
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
	ctx, cancel := context.WithTimeout(s.port.ctx, timeout)
	defer cancel()
	return s.port.dialNode(ctx, address, openingFrame{kind: kindRaft, cluster: s.port.clusterID(), target: id})
}

const (
	// MaxAppendEntries is how many entries go to a follower in one call; calls go one at a time. They are 32 MiB at most. Far
	// fewer would hold back a follower that is 20 ms away from two others that commit a thousand entries a second.
	MaxAppendEntries = 32
	// rpcTimeout bounds one of raft's calls; raftConn adds to it what a large call needs. Lost leaders are found by heartbeats.
	rpcTimeout = 5 * time.Second
)

// NewRaftTransport returns raft's network transport over the port. It has no pipeline: raft stops reading a pipeline's
// answers at the first that is not a success, and may send once more before it notices. That send waits without end, so
// the follower receives heartbeats and never another entry, and the leader's raft never shuts down.
//
// onSnapshotSent is told of the outcome of each transfer of a snapshot to another node.
func NewRaftTransport(p *Port, log hclog.Logger, onSnapshotSent func(to string, err error)) *RaftTransport {
	network := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          raftStreamLayer{port: p, closed: make(chan struct{})},
		MaxPool:         3,
		MaxRPCsInFlight: 1,
		Timeout:         rpcTimeout,
		Logger:          log,
	})
	return &RaftTransport{network, &p.contacts, onSnapshotSent}
}

// RaftTransport is raft's network transport over a port. It records which nodes answer, and how transfers of snapshots end.
type RaftTransport struct {
	*raft.NetworkTransport
	contacts       *raftContacts
	onSnapshotSent func(to string, err error)
}

var _ interface {
	raft.Transport
	raft.WithClose
	raft.WithPreVote
} = (*RaftTransport)(nil)

// AppendEntries sends entries, or a heartbeat, to a node.
func (t *RaftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil {
		t.contacts.noteAnswer(id)
	}
	return err
}

// InstallSnapshot sends a snapshot to a node.
func (t *RaftTransport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	err := t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
	outcome := err
	if err == nil && !resp.Success {
		outcome = errors.New("it refused the snapshot; its log says why")
	}
	t.onSnapshotSent(string(id), outcome)
	return err
}
