package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/server"
)

// caller is a game server whose connection a test can end in every way, over real sockets.
type caller struct {
	t    *testing.T
	node *fakeNode
	s    *server.Server
	raw  *net.TCPConn
	conn *grpc.ClientConn
	live profilev1.Profiles_LiveClient
	stop context.CancelFunc // of the call
	id   uint64
	side *faulty // of the server
}

// faulty is a listener of which every connection can be made to fail in a way of the test's.
type faulty struct {
	net.Listener
	mu    sync.Mutex
	fault error
	conns []net.Conn
}

type faultyConn struct {
	net.Conn
	of *faulty
}

func (l *faulty) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return faultyConn{c, l}, nil
}

func (c faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if err != nil && c.of.fault != nil {
		err = &net.OpError{Op: "read", Net: "tcp", Err: c.of.fault}
	}
	return n, err
}

// fail makes whatever reads fail now.
func (l *faulty) fail(fault error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
	for _, c := range l.conns {
		_ = c.SetReadDeadline(time.Now())
	}
}

func called(t *testing.T) *caller { return calledOver(t, nil, insecure.NewCredentials()) }

func calledOver(t *testing.T, secure *tls.Config, how credentials.TransportCredentials) *caller {
	t.Helper()
	hub := server.NewHub()
	c, stamps := &caller{t: t, node: newFake(t, hub)}, newStamps(fakeCluster, 1)
	c.s = server.NewOn(c.node, server.Config{Hub: hub, TLS: secure})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	c.side = &faulty{Listener: lis}
	go func() { served <- c.s.Serve(c.side) }()
	t.Cleanup(func() {
		c.s.Close(context.Background())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	c.conn, err = grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(how),
		grpc.WithChainUnaryInterceptor(stamps.call), grpc.WithChainStreamInterceptor(stamps.stream),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				c.raw = raw.(*net.TCPConn)
			}
			return raw, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close() })
	profiles := profilev1.NewProfilesClient(c.conn)
	reply, err := profiles.Register(soon(t), &profilev1.RegisterRequest{Name: "a", Nonce: bytes.Repeat([]byte{1}, 16)})
	if err != nil {
		t.Fatal(err)
	}
	c.id = reply.Incarnation
	ctx, stop := context.WithCancel(soon(t))
	c.stop = stop
	t.Cleanup(stop)
	if c.live, err = profiles.Live(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.live.Send(&profilev1.Renewal{Incarnation: c.id, Sequence: 1}); err != nil {
		t.Fatal(err)
	}
	for {
		event, err := c.live.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetRenewed().GetConfirmedTerm() != 0 {
			return c
		}
	}
}

// ended waits until the node is told how the stream ended.
func (c *caller) ended() (byPeer bool) {
	c.t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(time.Millisecond) {
		added, ends := c.node.Streams()
		for s, byPeer := range ends {
			if len(added) != 1 || added[0] != s {
				c.t.Errorf("the stream that ended, %v, is not the one attended", s)
			}
			if s.PeerHost != "127.0.0.1" || uint64(s.Incarnation) != c.id {
				c.t.Errorf("the stream is of %d from %q, want of %d from 127.0.0.1", s.Incarnation, s.PeerHost, c.id)
			}
			return byPeer
		}
	}
	c.t.Fatal("the node is not told that the stream ended")
	return false
}

func TestHowAStreamEnds(t *testing.T) {
	tests := []struct {
		name   string
		end    func(c *caller)
		byPeer bool
	}{
		{"FIN", func(c *caller) { _ = c.raw.Close() }, true},
		{"RST", func(c *caller) {
			_ = c.raw.SetLinger(0)
			_ = c.raw.Close()
		}, true},
		{"FIN of one direction", func(c *caller) { _ = c.raw.CloseWrite() }, true},
		{"the call is cancelled, the connection stays", func(c *caller) { c.stop() }, false},
		{"the call is over, the connection stays", func(c *caller) { _ = c.live.CloseSend() }, false},
		{"a goodbye, then FIN", func(c *caller) {
			c.node.Lead("elsewhere:7400")
			_ = c.live.Send(&profilev1.Renewal{Incarnation: c.id, Sequence: 2})
			for {
				if _, err := c.live.Recv(); err != nil {
					break
				}
			}
			_ = c.raw.Close()
		}, false},
		{"a fault of the caller's, then FIN", func(c *caller) {
			_ = c.live.Send(&profilev1.Renewal{Incarnation: c.id + 1, Sequence: 2})
			for {
				if _, err := c.live.Recv(); err != nil {
					break
				}
			}
			_ = c.raw.Close()
		}, false},
		{"a reset", func(c *caller) { c.side.fail(os.NewSyscallError("read", syscall.ECONNRESET)) }, true},
		{"a time-out of the kernel's", func(c *caller) { c.side.fail(os.NewSyscallError("read", syscall.ETIMEDOUT)) }, false},
		{"a deadline of ours", func(c *caller) { c.side.fail(os.ErrDeadlineExceeded) }, false},
		{"a host that a router says is unreachable", func(c *caller) { c.side.fail(os.NewSyscallError("read", syscall.EHOSTUNREACH)) }, false},
		{"this side closes", func(c *caller) {
			over, cancel := context.WithCancel(context.Background())
			cancel()
			c.s.Close(over)
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := called(t)
			test.end(c)
			if got := c.ended(); got != test.byPeer {
				t.Errorf("ended by the peer: %v, want %v", got, test.byPeer)
			}
		})
	}
}

func TestHowAStreamEndsOverTLS(t *testing.T) {
	for name, linger := range map[string]int{"FIN": -1, "RST": 0} {
		t.Run(name, func(t *testing.T) {
			secure, trusting := certify(t)
			c := calledOver(t, secure, trusting)
			_ = c.raw.SetLinger(linger)
			_ = c.raw.Close()
			if !c.ended() {
				t.Error("ended by the peer: false, want true")
			}
		})
	}
}

// A lead that begins while a stream is open holds it from the stream's next renewal on.
func TestAStreamIsAttendedAtEachRenewal(t *testing.T) {
	c := called(t)
	c.node.ForgetStreams()
	if err := c.live.Send(&profilev1.Renewal{Incarnation: c.id, Sequence: 2}); err != nil {
		t.Fatal(err)
	}
	for {
		event, err := c.live.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetRenewed().GetSequence() == 2 {
			break
		}
	}
	_ = c.raw.Close()
	if !c.ended() {
		t.Error("the stream did not end by its peer")
	}
}
