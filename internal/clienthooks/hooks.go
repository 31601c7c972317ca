// Package clienthooks lets tests replace the clock, the connections and the ports of a client. It is internal, so that
// games do not see it in package client.
package clienthooks

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Hooks replace a client's clock, connections and ports. A nil field leaves the default in place.
type Hooks struct {
	// Now is the clock by which sessions are in doubt. It must carry a monotonic reading.
	Now func() time.Time
	// Dial connects to the client port of a node, host:port.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// ListenPing opens the ping port on the network that reaches the node. With Dial set and ListenPing nil there is no
	// ping port, since a real port could not be reached over the replaced network.
	ListenPing func(ctx context.Context, node string) (net.Listener, error)
	// DialOptions are passed to gRPC, for interceptors that lose, delay or double requests.
	DialOptions []grpc.DialOption
	// StorePrefix is put before the name of every store, so that tests can share a cluster.
	StorePrefix string
	// Answer replaces all nodes: it answers each request in this process, and nothing is dialled.
	Answer func(method string, request, answer proto.Message) error
	// Fields replaces profilev1.Fields: the request fields that need a feature of the cluster, with that feature.
	Fields map[protoreflect.FullName]string
}

// Register is called by package client, with the function that finds the hooks in a *client.Config. It keeps this package
// from importing client, which imports it.
func Register(find func(config any) *Hooks) { findHooks = find }

var findHooks func(config any) *Hooks

// Of returns the hooks of a *client.Config. They must be changed before client.Open.
func Of(config any) *Hooks { return findHooks(config) }
