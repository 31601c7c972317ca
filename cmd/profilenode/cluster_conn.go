package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

const (
	maxReply = 33 << 20 // a node sends at most 32 MiB

	// unreachedRounds is after how many rounds in which no node could be reached at all nothing seems to run there. A
	// cluster that elects a leader does not look like that.
	unreachedRounds = 5

	// lookLimit bounds the look at all nodes after a request was given up.
	lookLimit = 2 * time.Second
)

// clusterConn speaks to whichever node leads.
type clusterConn struct {
	seeds       []string
	nodes       *wire.Nodes
	said        map[string]error // by address: the last answer of each node that Call asked, or why it may not be asked
	offersStale bool             // the command can read from any node, and was not told to
	binder      pb.Binder
}

func newClusterConn(seeds []string, c *certificates, plain bool) *clusterConn {
	conn := &clusterConn{seeds: seeds, said: make(map[string]error)}
	link := wire.LinkConfig{MaxReply: maxReply, Options: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(conn.binder.Bind), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxReply)),
	}}
	if c != nil {
		link.Credentials = credentials.NewTLS(c.forCommands())
	}
	anywhere := plain || c != nil
	conn.nodes = wire.NewNodes(wire.NodesConfig{
		LinkConfig: link, Seeds: seeds, OnFailure: conn.noteFailure,
		Permit:            func(address string) error { return checkMayDial(address, anywhere) },
		OnForbiddenLeader: func(address string, err error) { conn.said[address] = err }, // only requests of Call are redirected
	})
	return conn
}

func (c *clusterConn) close() { c.nodes.Close() }

// checkMayDial keeps requests from crossing a network in plain text without --plain, also after a redirect.
func checkMayDial(address string, anywhere bool) error {
	if !anywhere && isBeyondLoopback(address) {
		return fmt.Errorf("%s is on another machine: give --tls-ca, --tls-cert and --tls-key, or --insecure to speak in the clear", address)
	}
	return nil
}

// ask sends a request until the leader answers it, refuses it for good, or ctx ends.
func (c *clusterConn) ask(ctx context.Context, method string, request, reply proto.Message) error {
	return c.explainCall(ctx, c.nodes.Call(ctx, method, request, reply))
}

// explainCall turns the end of a call into its sentence. An error says no more than is known of the request.
func (c *clusterConn) explainCall(ctx context.Context, err error) error {
	var failed *wire.CallError
	switch {
	case !errors.As(err, &failed):
		return err
	case failed.Last.IsFinal():
		return classifyByFate(failed.Fate, explainRefusal(nodeAnswer(ctx, failed.Last)))
	}
	return c.errorAfterGivingUp(ctx, failed.Fate)
}

// noteFailure keeps the answer of a node, and gives up where no node can be reached.
func (c *clusterConn) noteFailure(ctx context.Context, a wire.Attempt) (giveUp bool) {
	// The end of ctx says nothing about this node; its earlier answer says more.
	if ctx.Err() == nil || a.Refusal != nil || c.said[a.Address] == nil {
		c.said[a.Address] = nodeAnswer(ctx, a)
	}
	return a.Unsent >= unreachedRounds*len(c.nodes.Addresses())
}
