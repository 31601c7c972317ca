// Package clienthooks lets tests replace what a client takes from its machine: clock, connections, ports. Games have no
// use for it, so package client does not show it.
package clienthooks

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Hooks replace what a client takes from its machine. A nil field leaves the real thing.
type Hooks struct {
	// Now is the clock by which sessions are in doubt. It must carry a monotonic reading.
	Now func() time.Time
	// Dial connects to the client port of a node, host:port.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// ListenPing makes the ping port, beside the way to a node. With a Dial but without it there is no ping port: the way
	// back is not known.
	ListenPing func(ctx context.Context, node string) (net.Listener, error)
	// DialOptions lose, delay or double what is sent.
	DialOptions []grpc.DialOption
	// StorePrefix stands before the name of every store, so that tests share a cluster.
	StorePrefix string
	// Answer stands in for all nodes: it answers each request in this process, and nothing is dialled.
	Answer func(method string, request, answer proto.Message) error
	// Fields are those of requests that need a feature of the cluster, as profilev1.Fields.
	Fields map[protoreflect.FullName]string
}

// Register is called by package client, with what finds the hooks in a *client.Config.
func Register(find func(config any) *Hooks) { of = find }

var of func(config any) *Hooks

// Of is the hooks of a *client.Config, to be changed before client.Open.
func Of(config any) *Hooks { return of(config) }
