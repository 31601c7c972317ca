package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/internal/tcp"
)

// gRPC does not say how a connection ended, and that proves a game server's death: FIN or RST are sent by the
// peer's kernel when its process dies, a time-out here proves nothing. So the connections themselves look.

// peerListener is a listener whose connections notice how they end.
type peerListener struct {
	net.Listener
	share int64 // bytes of answers that one may hold
	open  *connLimiter
	plain *cluster.HandshakeLog // hears of connections that begin with TLS; nil: the port speaks it
}

// Accept returns the next connection that the limits allow. Others are closed at once, and in here: an error would make gRPC
// pause before the next one.
func (l peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if err := tcp.LimitUnacknowledged(c, pingTimeout); err != nil { // gRPC sets it on a connection of net's own only
			_ = c.Close()
			return nil, &acceptError{err}
		}
		conn := &peerConn{Conn: c, share: newSharedBudget(l.share), plain: l.plain, open: l.open, lastCall: time.Now(), rooms: map[*replyBudget]struct{}{}}
		if l.open.admit(conn) {
			return conn, nil
		}
		_ = c.Close()
	}
}

// acceptError is about one connection, which ended just now: the next one is accepted.
type acceptError struct{ error }

func (*acceptError) Temporary() bool { return true }
func (*acceptError) Timeout() bool   { return false }
func (e *acceptError) Unwrap() error { return e.error }

// peerConn is one connection.
type peerConn struct {
	net.Conn
	closed atomic.Bool           // on this side
	ended  atomic.Bool           // FIN or RST came from the peer before
	share  *byteBudget           // of answers
	plain  *cluster.HandshakeLog // until the first bytes were read; nil: they are not looked at. Its reader's alone

	open    *connLimiter
	metered *meteredConn // as gRPC reads it; nil before the handshake

	mu         sync.Mutex
	rooms      map[*replyBudget]struct{} // of answers that gRPC has; nil once it is closed
	calls      int                       // that are under way
	lastCall   time.Time                 // when the last one began or ended
	registered bool                      // a registered client uses it
}

func (c *peerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.plain != nil && n > 0 {
		if cluster.SpeaksTLS(p[:n]) {
			c.plain.LogFailure(c.Conn.RemoteAddr(), cluster.ErrSpeaksTLS)
		}
		c.plain = nil
	}
	if errors.Is(err, io.EOF) || isReset(err) {
		c.noteEnd()
	}
	return n, err
}

// Write may be the first to meet a reset.
func (c *peerConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if isReset(err) {
		c.noteEnd()
	}
	return n, err
}

func (c *peerConn) noteEnd() {
	if !c.closed.Load() {
		c.ended.Store(true)
	}
}

func (c *peerConn) Close() error {
	c.closed.Store(true)
	c.open.forget(c)
	c.mu.Lock()
	rooms := c.rooms
	c.rooms = nil
	c.mu.Unlock()
	for r := range rooms {
		r.releaseAll() // gRPC lets go of them without a word
	}
	return c.Conn.Close()
}

// beginCall notes a call over the connection; end says that it has ended. registered says that the caller has registered, or
// is about to. c may be nil.
func (c *peerConn) beginCall(registered bool) (end func()) {
	if c == nil {
		return func() {}
	}
	note := func(calls int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls += calls
		c.lastCall = time.Now()
		c.registered = c.registered || registered
	}
	note(1)
	return func() { note(-1) }
}

// idleFor is how long the connection has had no call. ok is false while it has one, or is a registered client's.
func (c *peerConn) idleFor(now time.Time) (idle time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.lastCall), c.calls == 0 && !c.registered
}

// keepBudget has a room given back with the connection's end; false: it has ended.
func (c *peerConn) keepBudget(r *replyBudget) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooms == nil {
		return false
	}
	c.rooms[r] = struct{}{}
	return true
}

func (c *peerConn) forgetBudget(r *replyBudget) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rooms, r)
}

// RemoteAddr carries the connection along: all that gRPC hands to a call is the address.
func (c *peerConn) RemoteAddr() net.Addr { return peerAddr{c.Conn.RemoteAddr(), c} }

type peerAddr struct {
	net.Addr
	conn *peerConn
}

// isReset: a connection of which this side has shut nothing down says EPIPE only after a reset.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// peerOf is the host that a call came from, and the connection if it is known; nil: nothing will be known of its end.
func peerOf(ctx context.Context) (host string, conn *peerConn) {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return "", nil
	}
	if f, ok := p.Addr.(peerAddr); ok {
		conn = f.conn
	}
	return hostOf(p.Addr), conn
}

// endedByPeer says that FIN or RST came from the peer.
func (c *peerConn) endedByPeer() bool { return c != nil && c.ended.Load() }
