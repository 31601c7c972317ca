package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	maxReply = 33 << 20 // a node sends at most 32 MiB

	// tryLimit bounds one try, so that a node that hangs does not use up the time in which another would answer.
	tryLimit = 2 * time.Second

	// deadRounds is after how many rounds in which nobody could be reached at all we take it that nothing runs there. A
	// cluster that elects a leader does not look like that.
	deadRounds = 3

	// maxHops is how often one round follows a node's word on who leads.
	maxHops = 3

	firstPause = 50 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// conn speaks to whichever node leads. A request is built once and sent as it is until it is answered: to a change that
// is the promise that it happens once.
type conn struct {
	seeds       []string
	credentials credentials.TransportCredentials
	anywhere    bool // may leave this machine
	open        map[string]*grpc.ClientConn
	leader      string // who last answered, or was named as the leader
	binder      pb.Binder
}

func newConn(seeds []string, c *certificates, plain bool) *conn {
	creds := insecure.NewCredentials()
	if c != nil {
		creds = credentials.NewTLS(c.forAsking())
	}
	return &conn{seeds: seeds, credentials: creds, anywhere: plain || c != nil, open: make(map[string]*grpc.ClientConn)}
}

func (c *conn) close() {
	for _, connection := range c.open {
		_ = connection.Close() // nothing is left to be told
	}
}

// at is a connection to one address; it dials when it is first used.
func (c *conn) at(address string) (*grpc.ClientConn, error) {
	if connection := c.open[address]; connection != nil {
		return connection, nil
	}
	if err := mayDial(address, c.anywhere); err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(c.credentials),
		grpc.WithChainUnaryInterceptor(pb.Announce, c.binder.Bind),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.MaxCallSendMsgSize(maxReply)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause},
			MinConnectTimeout: tryLimit,
		}))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	c.open[address] = connection
	return connection, nil
}

// mayDial keeps what is asked from crossing a network in the clear unasked, also when a node sends us elsewhere.
func mayDial(address string, anywhere bool) error {
	if !anywhere && beyondLoopback(address) {
		return fmt.Errorf("%s is on another machine: give --tls-ca, --tls-cert and --tls-key, or --insecure to speak in the clear", address)
	}
	return nil
}

// try asks the leader until it answers, is out of the question, or ctx ends. ask must send the same bytes every time.
func (c *conn) try(ctx context.Context, ask func(context.Context, *grpc.ClientConn) error) error {
	pause, dead := firstPause, 0
	var copies wire.Copies
	var said error
	for {
		r := c.round(ctx, &copies, ask)
		if r.err != nil && ctx.Err() != nil && wire.RefusalIn(r.err) == nil && said != nil {
			r.err = said // the end of ctx is no news; what came before says more
		}
		said = r.err
		switch {
		case r.err == nil:
			return nil
		case r.over:
			return asFar(r.fate, told(r.err))
		case ctx.Err() != nil:
			return c.gaveUp(r.err, copies.Fate())
		case r.anybody:
			dead = 0
		default:
			dead++
		}
		if dead >= deadRounds {
			return c.gaveUp(r.err, copies.Fate())
		}
		select {
		case <-ctx.Done():
			return c.gaveUp(r.err, copies.Fate())
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// round is what came of asking everybody once.
type round struct {
	err     error     // nil: answered
	over    bool      // asking again would not help
	anybody bool      // somebody could be reached
	fate    wire.Fate // of the request, when it is over
}

// round asks the leader as far as known, else every node, and follows who is named as the leader, a few times: two nodes
// may each take the other for it.
func (c *conn) round(ctx context.Context, copies *wire.Copies, ask func(context.Context, *grpc.ClientConn) error) (r round) {
	next, hops := c.order(), 0
	for len(next) > 0 {
		address := next[0]
		next = next[1:]
		err := c.once(ctx, address, ask)
		if err == nil {
			c.leader = address
			return round{}
		}
		refusal, v := wire.RefusalIn(err), judge(err)
		if refusal != nil {
			r.fate = copies.Refuse(refusal)
		} else {
			copies.Lose()
			r.fate = copies.Fate()
		}
		if ctx.Err() != nil && r.err != nil {
			return r // the end of ctx is no news of this node; what came before says more
		}
		r.err, r.over, r.anybody = err, v == final, r.anybody || v != absent
		if r.over {
			return r
		}
		if c.leader == address {
			c.leader = ""
		}
		if leader := refusal.GetLeader(); v == elsewhere && leader != "" && leader != address && hops < maxHops {
			hops++
			next = append([]string{leader}, next...)
		}
	}
	return r
}

func (c *conn) once(ctx context.Context, address string, ask func(context.Context, *grpc.ClientConn) error) error {
	connection, err := c.at(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	return ask(ctx, connection)
}

// order is whom to ask: who last led, then everybody.
func (c *conn) order() []string {
	if c.leader == "" {
		return c.seeds
	}
	others := slices.DeleteFunc(slices.Clone(c.seeds), func(address string) bool { return address == c.leader })
	return append([]string{c.leader}, others...)
}

// gaveUp says why a request found nobody who could answer it. The refusal of one copy is no word on the copies before it
// that went unanswered; with one of those the request is unsure.
func (c *conn) gaveUp(last error, fate wire.Fate) error {
	asked := strings.Join(c.seeds, ", ")
	var err error
	switch {
	case judge(last) == absent:
		err = &hinted{fmt.Errorf("no node answers at %s", asked),
			"start a cluster with profilenode dev, or name the nodes of another with --addr or " + addrVariable}
	case judge(last) == elsewhere:
		err = &hinted{fmt.Errorf("no leader could be reached through %s", asked),
			"a cluster needs more than half of its nodes; profilenode status shows who is there"}
	case wire.RefusalIn(last) == nil:
		err = &hinted{fmt.Errorf("no answer in time from %s", asked), "profilenode status shows who is there"}
	default:
		err = told(last)
	}
	return asFar(fate, err)
}

// asFar keeps an error from saying more than is known of the request.
func asFar(fate wire.Fate, err error) error {
	if fate == wire.MayHaveHappened {
		return &unsureError{err}
	}
	return err
}

// unsureError is the end of a request of which some copy went unanswered. For a change it means: it may have happened.
type unsureError struct{ error }

func (e *unsureError) Unwrap() error { return e.error }

// What an error means for the next step.
type verdict int

const (
	final     verdict = iota // asking again would not help
	again                    // this node may answer later
	elsewhere                // another node leads
	absent                   // nobody there
)

func judge(err error) verdict {
	if refusal := wire.RefusalIn(err); refusal != nil {
		switch {
		case wire.MeaningOf(refusal.GetReason()).Retry == wire.Never:
			return final
		case refusal.GetReason() == pb.Reason_REASON_NOT_LEADER:
			return elsewhere
		}
		return again
	}
	switch status.Code(err) {
	case codes.Unavailable:
		return absent
	case codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return again
	}
	return final
}
