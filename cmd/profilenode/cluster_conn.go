package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	maxReply = 33 << 20 // a node sends at most 32 MiB

	// tryLimit bounds one try, so that a node that hangs does not use up the time in which another would answer.
	tryLimit = 2 * time.Second

	// deadRounds is after how many rounds in which no node could be reached at all we take it that nothing runs there. A
	// cluster that elects a leader does not look like that.
	deadRounds = 3

	// maxHops is how many redirects to another leader one round follows.
	maxHops = 3

	firstPause = 50 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// clusterConn speaks to whichever node leads. A request is built once and sent as it is until it is answered: to a change that
// is the promise that it happens once.
type clusterConn struct {
	seeds       []string
	credentials credentials.TransportCredentials
	anywhere    bool // may leave this machine
	links       map[string]*wire.Link
	leader      string           // that last answered, or was named as the leader
	said        map[string]error // by address: the last answer of each node that was asked
	offersStale bool             // the command can read from any node, and was not told to
	binder      pb.Binder
}

func newClusterConn(seeds []string, c *certificates, plain bool) *clusterConn {
	creds := insecure.NewCredentials()
	if c != nil {
		creds = credentials.NewTLS(c.forCommands())
	}
	return &clusterConn{
		seeds: seeds, credentials: creds, anywhere: plain || c != nil,
		links: make(map[string]*wire.Link), said: make(map[string]error),
	}
}

func (c *clusterConn) close() {
	for _, link := range c.links {
		link.Close()
	}
}

// linkTo is a connection to one address; it connects when it is first used.
func (c *clusterConn) linkTo(address string) (*wire.Link, error) {
	if link := c.links[address]; link != nil {
		return link, nil
	}
	if err := checkMayDial(address, c.anywhere); err != nil {
		return nil, err
	}
	link, err := wire.Connect(address, c.credentials, nil,
		grpc.WithChainUnaryInterceptor(c.binder.Bind),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.MaxCallSendMsgSize(maxReply)))
	if err != nil {
		return nil, err
	}
	c.links[address] = link
	return link, nil
}

// checkMayDial keeps requests from crossing a network in plain text without --plain, also after a redirect.
func checkMayDial(address string, anywhere bool) error {
	if !anywhere && isBeyondLoopback(address) {
		return fmt.Errorf("%s is on another machine: give --tls-ca, --tls-cert and --tls-key, or --insecure to speak in the clear", address)
	}
	return nil
}

// tryNodes asks the leader until it answers, is out of the question, or ctx ends. ask must send the same bytes every time.
func (c *clusterConn) tryNodes(ctx context.Context, ask func(context.Context, *grpc.ClientConn) error) error {
	pause, dead := firstPause, 0
	var copies wire.Copies
	for {
		r := c.tryEachNode(ctx, &copies, ask)
		switch {
		case r.answered:
			return nil
		case r.final != nil:
			return classifyByFate(r.fate, explainRefusal(r.final))
		case ctx.Err() != nil:
			return c.errorAfterGivingUp(ctx, copies.Fate())
		case r.anybody:
			dead = 0
		default:
			dead++
		}
		if dead >= deadRounds {
			return c.errorAfterGivingUp(ctx, copies.Fate())
		}
		select {
		case <-ctx.Done():
			return c.errorAfterGivingUp(ctx, copies.Fate())
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// roundResult is the result of asking every node once.
type roundResult struct {
	answered bool
	final    error     // a refusal that asking again would not change
	fate     wire.Fate // of the request, with final
	anybody  bool      // a node could be reached
}

// tryEachNode asks the leader as far as known, else every node, and follows redirects to the leader, a few times: two nodes
// may each take the other for it.
func (c *clusterConn) tryEachNode(ctx context.Context, copies *wire.Copies, ask func(context.Context, *grpc.ClientConn) error) (r roundResult) {
	next, hops := c.addressesByPreference(), 0
	for len(next) > 0 {
		address := next[0]
		next = next[1:]
		sent, err := c.tryNode(ctx, address, ask)
		if err == nil {
			c.leader = address
			return roundResult{answered: true}
		}
		refusal := wire.RefusalIn(err)
		fate := copies.Fate()
		switch {
		case refusal != nil:
			fate = copies.Refuse(refusal)
		case sent:
			copies.Lose()
			fate = copies.Fate()
		}
		if ctx.Err() != nil && refusal == nil && c.said[address] != nil {
			return r // the end of ctx says nothing about this node; its earlier answer says more
		}
		c.said[address] = err
		r.anybody = r.anybody || sent
		if refusal != nil && wire.MeaningOf(refusal.GetReason()).Retry == wire.Never {
			r.final, r.fate = err, fate
			return r
		}
		if c.leader == address {
			c.leader = ""
		}
		if leader := refusal.GetLeader(); leader != "" && leader != address && hops < maxHops {
			hops++
			next = append([]string{leader}, next...)
		}
	}
	return r
}

// tryNode asks one node. Unless sent, no copy has left this process.
func (c *clusterConn) tryNode(ctx context.Context, address string, ask func(context.Context, *grpc.ClientConn) error) (sent bool, err error) {
	link, err := c.linkTo(address)
	if err != nil {
		return false, err
	}
	return callOverLink(ctx, link, ask)
}

func callOverLink(ctx context.Context, link *wire.Link, ask func(context.Context, *grpc.ClientConn) error) (sent bool, err error) {
	if err := link.WaitReady(ctx); err != nil {
		return false, nodeAnswer(ctx, link, false, err)
	}
	limited, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	if err := ask(limited, link.Conn()); err != nil {
		return true, nodeAnswer(ctx, link, true, err)
	}
	return true, nil
}

// addressesByPreference is the order to ask nodes in: the last known leader first, then the others.
func (c *clusterConn) addressesByPreference() []string {
	if c.leader == "" {
		return c.seeds
	}
	others := slices.DeleteFunc(slices.Clone(c.seeds), func(address string) bool { return address == c.leader })
	return append([]string{c.leader}, others...)
}
