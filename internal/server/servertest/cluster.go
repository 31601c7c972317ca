package servertest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/internal/server"
	"github.com/profilenode/profilenode/lock"
)

// ID is the id of a Cluster.
var ID = []byte("scripted cluster")

// Feature is one that a Cluster has from the level after this build's on; see RaiseLevel.
const Feature = "letters"

// Cluster is a log with some nodes that serve clients over connections in memory. The fields are a test's script: change
// them with Set.
type Cluster struct {
	*Log
	listeners map[string]*bufconn.Listener // by the nodes' addresses
	epoch     uint64

	mu sync.Mutex
	// Before is asked before a call, or a renewal as "Live", reaches a node, After when the call's answer leaves; an error is
	// the answer instead, and of a stream the end.
	Before, After func(node, method string, request proto.Message) error
	// Renewed may change an answer to a renewal before it leaves.
	Renewed     func(*profilev1.Renewed)
	Unconfirmed bool // the leader cannot confirm its leadership
	streams     []context.Context
	differed    int // answers to renewals that say that the held sets differ
	reads       int // calls of Get that reached a node
}

// NewCluster starts nodes at these addresses. The first leads.
func NewCluster(t testing.TB, addrs ...string) *Cluster {
	t.Helper()
	return NewPagedCluster(t, 0, addrs...)
}

// NewPagedCluster is one whose nodes list so many grants in a page.
func NewPagedCluster(t testing.TB, page int, addrs ...string) *Cluster {
	t.Helper()
	c := &Cluster{Log: NewLog(t, ID), epoch: 1, listeners: make(map[string]*bufconn.Listener)}
	for _, addr := range addrs {
		hub := server.NewHub()
		node := NewNode(t, c.Log, hub, addr)
		node.Confirm = c.confirm
		s := server.NewOn(node, server.Config{
			Hub: hub, Features: featuresOf, Limits: server.Limits{GrantsPage: page},
			Options: []grpc.ServerOption{
				grpc.ChainUnaryInterceptor(c.interceptCall(addr)), grpc.ChainStreamInterceptor(c.interceptStream(addr)),
			},
		})
		listener := bufconn.Listen(1 << 20)
		c.listeners[addr] = listener
		served := make(chan error, 1)
		go func() { served <- s.Serve(listener) }()
		t.Cleanup(func() {
			over, cancel := context.WithCancel(context.Background())
			cancel()
			s.Close(over)
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	}
	return c
}

func featuresOf(level uint32) []string {
	if level > fsm.Level {
		return []string{Feature}
	}
	return fsm.Features(level)
}

// Addresses are where clients reach the nodes.
func (c *Cluster) Addresses() []string { return slices.Sorted(maps.Keys(c.listeners)) }

// Dial connects to a node.
func (c *Cluster) Dial(ctx context.Context, addr string) (net.Conn, error) {
	listener := c.listeners[addr]
	if listener == nil {
		return nil, fmt.Errorf("no node at %s", addr)
	}
	return listener.DialContext(ctx)
}

// Set changes the script.
func (c *Cluster) Set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// Streams are the contexts of all streams so far.
func (c *Cluster) Streams() []context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.streams)
}

// Differed counts the answers to renewals that said that the held sets differ.
func (c *Cluster) Differed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.differed
}

// Reads counts the calls of Get that reached a node.
func (c *Cluster) Reads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

// RaiseLevel brings Feature into force.
func (c *Cluster) RaiseLevel() { c.Do(&fsm.RaiseLevel{Level: fsm.Level + 1}) }

// Restore begins a new epoch with the data as it is: every incarnation ends. The nodes start again with it, so no stream
// tells of the end before a renewal names the older epoch.
func (c *Cluster) Restore() {
	before := c.servers() // a registration in the new epoch is not ended
	c.BeginEpoch()
	c.Deafen(true)
	defer c.Deafen(false)
	for _, s := range before {
		if s.Alive {
			c.Expire(s.Incarnation)
		}
	}
}

// BeginEpoch begins a new epoch and leaves the tables as they are.
func (c *Cluster) BeginEpoch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.SetEpoch(c.epoch)
}

func (c *Cluster) confirm(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Unconfirmed {
		return cluster.ErrUnconfirmed
	}
	return nil
}

// Refuse is a refusal as a node's answer.
func Refuse(r *profilev1.Refusal) error {
	st, err := status.New(codes.FailedPrecondition, r.Reason.String()).WithDetails(r)
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// interceptCall goes on with a call after its caller has given it up: a copy that is late in the network arrives all the
// same.
func (c *Cluster) interceptCall(addr string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, in any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		method, request := info.FullMethod[len("/profilenode.v1.Profiles/"):], in.(proto.Message)
		c.mu.Lock()
		before := c.Before
		c.mu.Unlock()
		if before != nil {
			if err := before(addr, method, request); err != nil {
				return nil, err
			}
		}
		c.mu.Lock()
		after, epoch := c.After, c.epoch
		if method == "Get" {
			c.reads++
		}
		c.mu.Unlock()
		answer, err := c.handleInEpoch(context.WithoutCancel(ctx), epoch, in, handle)
		if after != nil {
			if err := after(addr, method, request); err != nil {
				return nil, err
			}
		}
		return answer, err
	}
}

// handleInEpoch translates registrations, since the tables know the first epoch only.
func (c *Cluster) handleInEpoch(ctx context.Context, epoch uint64, in any, handle grpc.UnaryHandler) (any, error) {
	q, ok := in.(*profilev1.RegisterRequest)
	if !ok || q.Epoch != 0 && q.Epoch != epoch {
		return handle(ctx, in)
	}
	asked := proto.Clone(q).(*profilev1.RegisterRequest)
	asked.Epoch = 0
	if q.SeenEpoch == epoch {
		asked.SeenEpoch = 1
	} else {
		asked.Seen, asked.SeenEpoch = 0, 0
	}
	answer, err := handle(ctx, asked)
	if r, ok := answer.(*profilev1.RegisterResponse); ok && err == nil {
		r.Epoch, r.Binding = epoch, lock.Binding(ID, epoch)
	}
	return answer, err
}

func (c *Cluster) interceptStream(addr string) grpc.StreamServerInterceptor {
	return func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		c.Set(func() { c.streams = append(c.streams, stream.Context()) })
		scripted := &scriptedStream{ServerStream: stream, cluster: c, addr: addr}
		err := handle(service, scripted)
		if end := scripted.end.Load(); end != nil {
			return *end
		}
		return err
	}
}

// scriptedStream is a stream of renewals that a script may answer or end.
type scriptedStream struct {
	grpc.ServerStream
	cluster *Cluster
	addr    string
	end     atomic.Pointer[error] // the script's; the server's receiver may set it after the server has ended the stream
}

func (s *scriptedStream) RecvMsg(in any) error {
	if err := s.ServerStream.RecvMsg(in); err != nil {
		return err
	}
	s.cluster.mu.Lock()
	before := s.cluster.Before
	s.cluster.mu.Unlock()
	if before == nil {
		return nil
	}
	end := before(s.addr, "Live", in.(proto.Message))
	if end != nil {
		s.end.Store(&end)
	}
	return end
}

func (s *scriptedStream) SendMsg(out any) error {
	if event, ok := out.(*profilev1.Event); ok && event.GetRenewed() != nil {
		s.cluster.mu.Lock()
		if s.cluster.Renewed != nil {
			s.cluster.Renewed(event.GetRenewed())
		}
		if event.GetRenewed().Differs {
			s.cluster.differed++
		}
		s.cluster.mu.Unlock()
	}
	return s.ServerStream.SendMsg(out)
}
