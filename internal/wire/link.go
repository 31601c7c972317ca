// Package wire is the common part of every caller of the nodes' public wire, game servers, commands and tools alike.
//
// A Link is the connection to one node (link.go); it waits for an answer as long as something moves (conn_traffic.go), and
// says what an address answers to the attempt to connect (connect_error.go). Nodes keeps the connections to all nodes of a
// cluster and follows its leader (nodes.go). SendCopy sends one copy of a request to one node (attempt.go); Call sends copies
// until one is answered (call.go), with pauses between them (pace.go). A Registration numbers the requests of a tool, so that
// each is carried out once (registration.go, numbers.go). MeaningOf is the one table of what a refusal says of its request
// (reasons.go). Renewals keeps an incarnation alive over streams (renewals.go, stream.go).
//
// A tool makes Nodes with NewNodes, reads with Nodes.Call, registers with Nodes.Register and changes with
// Registration.Change. Package client, which has sessions to protect, uses SendCopy and the parts below it.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/tcp"
)

const (
	// MaxFrame is the largest message of the wire in bytes: the largest data and the fields around it. gRPC's own limit,
	// 4 MiB, would refuse the largest profile.
	MaxFrame = 5<<20 + 64<<10

	// ConnectLimit is how long one attempt to connect may take, the TLS handshake included.
	ConnectLimit = time.Second

	// deadAfter is how long the kernel waits for the peer to acknowledge data before it ends a connection. Without it the
	// kernel repeats itself ever more rarely, and a connection stays dead for about as long after a network cut as the cut
	// lasted.
	deadAfter = 2500 * time.Millisecond

	// pingAfter is the quiet after which gRPC pings an idle connection; it allows nothing shorter.
	pingAfter = 10 * time.Second

	reconnectFirst = 50 * time.Millisecond // between attempts to connect, growing
	reconnectMost  = 500 * time.Millisecond

	// Windows that gRPC does not measure by itself: it would send a ping for each message that comes.
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// Dial opens a network connection to host:port.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// DialTCP is the Dial of everything but tests.
func DialTCP(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// Link is a connection to one node, which gRPC makes again whenever it breaks. It repeats no request by itself: whether
// one may be sent again is the caller's to decide.
type Link struct {
	address  string
	conn     *grpc.ClientConn
	dial     Dial
	maxReply int // bytes
	traffic  connTraffic
	attempts connectAttempts

	mu      sync.Mutex
	calls   int  // under way
	retired bool // to be closed when no call is under way
}

// LinkConfig says how to connect to a node.
type LinkConfig struct {
	Credentials credentials.TransportCredentials // nil: plain text
	Dial        Dial                             // nil: DialTCP
	MaxReply    int                              // bytes of the largest answer; 0: MaxFrame
	Options     []grpc.DialOption                // for gRPC, beside those of every Link
}

// BoundLinks is the configuration of a caller's links whose reads are bound to one cluster by a Binder of their own.
func BoundLinks() LinkConfig {
	return LinkConfig{Options: []grpc.DialOption{grpc.WithChainUnaryInterceptor(new(profilev1.Binder).Bind)}}
}

// Connect makes a Link and returns at once; WaitReady waits until the connection stands.
func Connect(address string, config LinkConfig) (*Link, error) {
	creds, dial := config.Credentials, config.Dial
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	if dial == nil {
		dial = DialTCP
	}
	l := &Link{address: address, dial: dial, maxReply: config.MaxReply, traffic: connTraffic{began: time.Now()}}
	if l.maxReply == 0 {
		l.maxReply = MaxFrame
	}
	l.attempts.secure = creds.Info().SecurityProtocol == "tls"
	dial = l.attempts.dialNoting(dial)
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(watchedCredentials{creds, &l.attempts}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err != nil {
				return nil, err
			}
			if err := tcp.LimitUnacknowledged(conn, deadAfter); err != nil {
				_ = conn.Close()
				return nil, fmt.Errorf("limit how long %s may leave data unacknowledged: %w", address, err)
			}
			return countedConn{conn, &l.traffic}, nil
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(profilev1.Announce),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: deadAfter, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMost},
			MinConnectTimeout: ConnectLimit,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(l.maxReply), grpc.MaxCallSendMsgSize(MaxFrame)),
	}
	conn, err := grpc.NewClient("passthrough:///"+address, append(options, config.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	l.conn = conn
	return l, nil
}

// Conn is the gRPC connection, for streams. Requests go through Invoke.
func (l *Link) Conn() *grpc.ClientConn { return l.conn }

// hasFailed says that the latest attempt to connect failed.
func (l *Link) hasFailed() bool { return l.conn.GetState() == connectivity.TransientFailure }

// Begin begins to connect if that is not under way.
func (l *Link) Begin() { l.conn.Connect() }

// WaitReady waits until a request can leave at once, and no longer than one attempt to connect takes. An error means that
// nothing was sent; there is a *ConnectError in it if the address does not speak as a node does.
func (l *Link) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ConnectLimit)
	defer cancel()
	for {
		state := l.conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			l.conn.Connect()
		case connectivity.TransientFailure:
			return l.unreachableError(errors.New("its connection was lost"))
		case connectivity.Shutdown:
			return l.unreachableError(errors.New("its connection was closed on this side"))
		}
		if !l.conn.WaitForStateChange(ctx, state) {
			return l.unreachableError(ctx.Err())
		}
	}
}

// unreachableError is the address's answer to the latest attempt to connect, or else the given error.
func (l *Link) unreachableError(otherwise error) error {
	if failed := l.attempts.worstFailure(); failed != nil {
		otherwise = failed
	}
	return fmt.Errorf("node %s: %w", l.address, otherwise)
}

// Explain is the address's answer to the latest attempt to connect; nil if it speaks as a node does. It may look at
// the port once more, which takes up to a second.
func (l *Link) Explain(ctx context.Context) *ConnectError {
	failed := l.attempts.worstFailure()
	if failed != nil && failed.Problem == ClosedAtOnce && !l.attempts.secure && probeForTLS(ctx, l.dial, l.address) {
		return &ConnectError{Problem: SpeaksTLS}
	}
	return failed
}

// errNoAnswer ends the wait for an answer.
var errNoAnswer = errors.New("no answer in time")

// Invoke sends one request and waits for its answer for as long as something moves. It gives up when nothing came or went
// over the connection for patience, or when the transfer is slower than the slowest link that is served: small requests
// are given up soon, so that another node is asked, and a large answer over a slow link arrives.
//
// silent says that nothing at all was heard from the node since the request was sent. The connection may be dead in a way
// that the kernel does not see, behind a proxy for example: the next copy should travel on another one.
func (l *Link) Invoke(ctx context.Context, method string, request, answer proto.Message) (silent bool, err error) {
	if !l.startCall() {
		return false, status.Error(codes.Unavailable, "the connection was replaced")
	}
	defer l.endCall()
	waiting, giveUp := context.WithCancelCause(ctx)
	w := watchTransfer(&l.traffic, proto.Size(request)+l.maxReply, func() { giveUp(errNoAnswer) })
	timeout := timeoutOf(ctx)
	timeout.beginTransfer(w)
	err = l.conn.Invoke(waiting, method, request, answer)
	timeout.endTransfer(w, err == nil)
	heard := w.stopWatching()
	gaveUp := context.Cause(waiting) == errNoAnswer
	giveUp(nil)
	if err != nil && gaveUp && status.Code(err) == codes.Canceled {
		err = status.Errorf(codes.DeadlineExceeded, "node %s: %v", l.address, errNoAnswer)
	}
	return err != nil && gaveUp && !heard, err
}

func (l *Link) startCall() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired {
		return false
	}
	l.calls++
	return true
}

func (l *Link) endCall() {
	l.mu.Lock()
	l.calls--
	last := l.retired && l.calls == 0
	l.mu.Unlock()
	if last {
		_ = l.conn.Close()
	}
}

// Retire closes the link once no request is under way on it. None may begin.
func (l *Link) Retire() {
	l.mu.Lock()
	l.retired = true
	idle := l.calls == 0
	l.mu.Unlock()
	if idle {
		_ = l.conn.Close()
	}
}

// Close closes the link and ends the requests on it.
func (l *Link) Close() {
	l.mu.Lock()
	l.retired = true
	l.mu.Unlock()
	_ = l.conn.Close()
}
