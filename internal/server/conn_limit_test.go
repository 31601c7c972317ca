package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostConn is a connection of a host.
type hostConn struct {
	net.Conn
	host   string
	closed bool
}

func (c *hostConn) RemoteAddr() net.Addr { return hostAddr(c.host + ":1") }
func (c *hostConn) Close() error         { c.closed = true; return nil }

type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }

// arrivals are connections that come one after the other.
type arrivals struct {
	net.Listener
	waiting []net.Conn
}

func (a *arrivals) Accept() (net.Conn, error) {
	if len(a.waiting) == 0 {
		return nil, net.ErrClosed
	}
	next := a.waiting[0]
	a.waiting = a.waiting[1:]
	return next, nil
}

// acceptAll has a port accept connections of the given hosts, and returns those that it took, in order.
func acceptAll(t *testing.T, limiter *connLimiter, hosts ...string) (taken []*peerConn) {
	t.Helper()
	port := peerListener{Listener: &arrivals{waiting: nil}, share: 1 << 20, open: limiter}
	for _, host := range hosts {
		port.Listener.(*arrivals).waiting = append(port.Listener.(*arrivals).waiting, &hostConn{host: host})
	}
	for {
		c, err := port.Accept()
		if errors.Is(err, net.ErrClosed) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c.(*peerConn))
	}
}

// Clients cannot take all descriptors of a node: beyond the limits, in all and of one host, connections are closed at once. A
// connection that ends makes room, and the log says once that some were refused.
func TestClientsCannotOpenConnectionsWithoutEnd(t *testing.T) {
	var said strings.Builder
	limiter := newConnLimiter(Limits{Conns: 8, ConnsPerHost: 4}, slog.New(slog.NewTextHandler(&said, nil)))
	taken := acceptAll(t, limiter, "a", "a", "a", "a", "a", "a", "b", "b", "c", "c", "c")
	if len(taken) != 8 || limiter.inUse() != 8 {
		t.Fatalf("%d connections were taken, %d are counted, want 8", len(taken), limiter.inUse())
	}
	if alarms := limiter.alarms(); len(alarms) != 1 || alarms[0].Code != "CONNECTIONS_HIGH" {
		t.Errorf("alarms %v, want CONNECTIONS_HIGH", alarms)
	}
	if n := strings.Count(said.String(), "CONNECTIONS_REFUSED"); n != 1 {
		t.Errorf("%d lines about refused connections, want one: %s", n, said.String())
	}
	for range 2 { // a connection is counted once, however often it is closed
		if err := taken[0].Close(); err != nil {
			t.Error(err)
		}
	}
	if again := acceptAll(t, limiter, "a", "a"); len(again) != 1 {
		t.Errorf("%d connections were taken after one has ended, want one", len(again))
	}
	for _, c := range taken[:5] {
		_ = c.Close()
	}
	if alarms := limiter.alarms(); len(alarms) != 0 {
		t.Errorf("alarms %v with %d of 8 in use, want none", alarms, limiter.inUse())
	}
}

// Once half of the limit is in use, connections make room that no registered client uses and that had no call for a minute,
// the longest idle first.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	limiter := newConnLimiter(Limits{Conns: 8}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	taken := acceptAll(t, limiter, "a", "a", "a", "a", "a", "a", "a", "a")
	now := time.Now()
	age := func(i int, idle time.Duration) { taken[i].lastCall = now.Add(-idle) }
	isOpen := func(i int) bool { return !taken[i].closed.Load() }
	taken[0].beginCall(true)() // a game server's
	end := taken[1].beginCall(false)
	for i := range taken {
		age(i, time.Duration(i+50)*time.Second)
	}
	age(0, time.Hour)
	age(1, time.Hour)
	limiter.closeIdle(now, limiter.inUse()-limiter.limit/2)
	// 50 to 57 s are too short.
	for i := range taken {
		if !isOpen(i) {
			t.Errorf("connection %d was closed", i)
		}
	}
	for i := 2; i < len(taken); i++ {
		age(i, time.Duration(i+70)*time.Second)
	}
	limiter.closeIdle(now, limiter.inUse()-limiter.limit/2)
	for i := range taken {
		if want := i < 4; isOpen(i) != want {
			t.Errorf("connection %d is open: %v, want %v", i, isOpen(i), want)
		}
	}
	end()
	// At the limit a newcomer takes the place of an idle connection.
	acceptAll(t, limiter, "b", "b", "b", "b")
	age(2, 2*time.Minute)
	age(3, time.Second)
	if again := acceptAll(t, limiter, "c", "c"); len(again) != 1 || isOpen(2) {
		t.Errorf("%d newcomers were let in at the limit, want one in place of the idle connection", len(again))
	}
}

// failingOnce fails to accept until it has no more errors, then accepts.
type failingOnce struct {
	arrivals
	errors []error
}

func (f *failingOnce) Accept() (net.Conn, error) {
	if len(f.errors) > 0 {
		err := f.errors[0]
		f.errors = f.errors[1:]
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	return f.arrivals.Accept()
}

// A lack of descriptors ends neither the port nor the node: gRPC waits a moment and accepts again, which it does after errors that
// call themselves temporary.
func TestALackOfDescriptorsDoesNotEndThePort(t *testing.T) {
	port := peerListener{
		Listener: &failingOnce{arrivals{waiting: []net.Conn{&hostConn{host: "a"}}}, []error{syscall.EMFILE, syscall.ENFILE}},
		share:    1 << 20, open: newConnLimiter(Limits{Conns: 8}, slog.New(slog.DiscardHandler)),
	}
	for range 2 {
		_, err := port.Accept()
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			t.Fatalf("%v (%T) would end the port", err, err)
		}
	}
	if _, err := port.Accept(); err != nil {
		t.Errorf("after the lack of descriptors: %v", err)
	}
}
