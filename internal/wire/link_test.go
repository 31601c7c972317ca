package wire

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
)

// slowConn carries so many bytes a second, each way, and nothing while it is cut.
type slowConn struct {
	net.Conn
	rate int
	cut  *atomic.Bool
}

func (c slowConn) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		n := min(len(p)-sent, 4<<10)
		time.Sleep(time.Duration(n) * time.Second / time.Duration(c.rate))
		if !c.cut.Load() {
			if _, err := c.Conn.Write(p[sent : sent+n]); err != nil {
				return sent, err
			}
		}
		sent += n
	}
	return len(p), nil
}

// slowNode answers over connections of a rate.
type slowNode struct {
	profilev1.UnimplementedProfilesServer
	data  []byte
	hangs atomic.Bool

	dials atomic.Int64
	cut   atomic.Bool
	conns chan net.Conn
	end   chan struct{}
	once  sync.Once
}

func (n *slowNode) Get(ctx context.Context, _ *profilev1.GetRequest) (*profilev1.GetResponse, error) {
	if n.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &profilev1.GetResponse{Profile: &profilev1.Profile{Data: n.data}}, nil
}

func (n *slowNode) Save(context.Context, *profilev1.SaveRequest) (*profilev1.SaveResponse, error) {
	return &profilev1.SaveResponse{}, nil
}

func (n *slowNode) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.end:
		return nil, net.ErrClosed
	}
}

func (n *slowNode) Close() error   { n.once.Do(func() { close(n.end) }); return nil }
func (n *slowNode) Addr() net.Addr { return &net.TCPAddr{} }

// connectSlow is a link to a node over connections of a rate, for the largest profile.
func connectSlow(t *testing.T, rate int) (*slowNode, *Link) { return connectSlowFor(t, rate, 0) }

func connectSlowFor(t *testing.T, rate, maxReply int) (*slowNode, *Link) {
	t.Helper()
	n := &slowNode{data: bytes.Repeat([]byte("x"), 4<<20), conns: make(chan net.Conn), end: make(chan struct{})}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(MaxFrame), grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20))
	profilev1.RegisterProfilesServer(server, n)
	go func() { _ = server.Serve(n) }()
	l, err := Connect("node:7400", LinkConfig{MaxReply: maxReply, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		n.dials.Add(1)
		here, there := net.Pipe()
		select {
		case n.conns <- slowConn{there, rate, &n.cut}:
			return slowConn{here, rate, &n.cut}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		server.Stop()
		synctest.Wait()
	})
	return n, l
}

func get(ctx context.Context, l *Link, answer *profilev1.GetResponse) (bool, error) {
	return l.Invoke(ctx, profilev1.Profiles_Get_FullMethodName, &profilev1.GetRequest{Store: "players", Key: "ann"}, answer)
}

func TestTheLargestProfileLoadsAndSavesOverASlowConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := connectSlow(t, 256<<10)
		if err := l.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		answer := &profilev1.GetResponse{}
		if _, err := get(t.Context(), l, answer); err != nil {
			t.Fatalf("load: %v after %v", err, time.Since(began))
		}
		if len(answer.Profile.Data) != len(n.data) {
			t.Fatalf("got %d bytes, want %d", len(answer.Profile.Data), len(n.data))
		}
		if took := time.Since(began); took < 15*time.Second {
			t.Fatalf("it took %v only: the connection was not slow", took)
		}
		began = time.Now()
		if _, err := l.Invoke(t.Context(), profilev1.Profiles_Save_FullMethodName, &profilev1.SaveRequest{Data: n.data}, &profilev1.SaveResponse{}); err != nil {
			t.Fatalf("save: %v after %v", err, time.Since(began))
		}
		if n.dials.Load() != 1 {
			t.Errorf("it connected %d times, want once", n.dials.Load())
		}
	})
}

func TestANodeThatDoesNotAnswerIsGivenUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := connectSlow(t, 100<<20)
		n.hangs.Store(true)
		if err := l.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err := get(t.Context(), l, &profilev1.GetResponse{})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, codes.DeadlineExceeded)
		}
		if took := time.Since(began); took > patience+500*time.Millisecond {
			t.Errorf("it was given up after %v, want about %v", took, patience)
		}
	})
}

func TestAnAnswerThatStopsHalfwayIsGivenUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := connectSlow(t, 256<<10)
		if err := l.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		const whole = 5 * time.Second
		time.AfterFunc(whole, func() { n.cut.Store(true) })
		silent, err := get(t.Context(), l, &profilev1.GetResponse{})
		if status.Code(err) != codes.DeadlineExceeded || silent {
			t.Errorf("got %v, silent %v, want %v and some of the answer heard", err, silent, codes.DeadlineExceeded)
		}
		if took := time.Since(began) - whole; took > patience+time.Second {
			t.Errorf("it was given up %v after the cut, want about %v", took, patience)
		}
	})
}

func TestARequestIntoADeadConnectionSaysThatNothingWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := connectSlow(t, 100<<20)
		if err := l.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the handshake of HTTP/2 is over
		n.cut.Store(true)
		if silent, err := get(t.Context(), l, &profilev1.GetResponse{}); err == nil || !silent {
			t.Errorf("got %v, silent %v, want an error and silence", err, silent)
		}
		n.cut.Store(false)
		l.Retire()
		if _, err := get(t.Context(), l, &profilev1.GetResponse{}); status.Code(err) != codes.Unavailable {
			t.Errorf("on a retired link: got %v, want %v", err, codes.Unavailable)
		}
	})
}

// A busy connection does not keep a request alive that gets no answer.
func TestOthersOnTheConnectionExtendTheWaitByAtMostOneTransfer(t *testing.T) {
	now := time.Unix(1000, 0)
	link := &connTraffic{began: now}
	w := &transferWatch{traffic: link, began: now, most: 1 << 20}
	for passed := time.Duration(0); ; passed += 100 * time.Millisecond {
		link.read.Add(1 << 20)
		link.moved.Store(int64(passed))
		if w.timeLeft(now.Add(passed)) <= 0 {
			if want := patience + 8*time.Second; passed != want {
				t.Errorf("given up after %v, want %v: 1 MiB at the slowest rate", passed, want)
			}
			return
		}
		if passed > time.Minute {
			t.Fatal("never given up")
		}
	}
}
