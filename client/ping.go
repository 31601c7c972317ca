package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/lock"
)

// pingPort is a port that this process holds until its end, and says on it which incarnation it is. Once the process is gone
// its host refuses the port, and this refusal proves to the cluster that no game runs on here. So the port is opened once,
// shared with no other process, passed on to no child, and closed last.
type pingPort struct {
	listen  func(ctx context.Context, node string) (net.Listener, error) // nil: there is none
	present atomic.Uint64                                                // the incarnation, 0: none just now

	mu       sync.Mutex
	listener net.Listener
	closed   bool
	warned   bool
	serving  sync.WaitGroup
}

// pingLimit bounds the time that a prober may take to read the answer. Probers are served one after the other.
const pingLimit = 250 * time.Millisecond

// portBeside is the port's address, or empty. It is made on the way to a node: where that one is reached from, this process
// is reached too.
func (p *pingPort) portBeside(ctx context.Context, c *Client, node string) string {
	if p.listen == nil {
		return ""
	}
	p.mu.Lock()
	l, closed := p.listener, p.closed
	p.mu.Unlock()
	if l == nil && !closed {
		if _, err := c.link.nodes.ReadyLink(ctx, node); err != nil {
			return "" // another node will be asked
		}
		l = p.openListener(ctx, c.config.Log, node)
	}
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// openListener is called by one registration at a time.
func (p *pingPort) openListener(ctx context.Context, log *slog.Logger, node string) net.Listener {
	l, err := p.listen(ctx, node)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if !p.warned {
			log.Warn("no ping port: the death of this process would be noticed later", "error", err)
		}
		p.warned = true
		return nil
	}
	if p.closed {
		_ = l.Close()
		return nil
	}
	p.listener = l
	p.serving.Go(func() { p.serveConns(l) })
	return l
}

func (p *pingPort) serveConns(l net.Listener) {
	const most = time.Second
	wait := 10 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			wait = 10 * time.Millisecond
			p.answerConn(conn)
		case errors.Is(err, net.ErrClosed) || p.isClosed():
			return
		default: // out of files, most likely: until that is over the kernel takes the calls, so nothing is refused
			time.Sleep(wait)
			wait = min(2*wait, most)
		}
	}
}

func (p *pingPort) answerConn(conn net.Conn) {
	frame := lock.PingFrame(lock.Incarnation(p.present.Load()))
	_ = conn.SetDeadline(time.Now().Add(pingLimit))
	_, _ = conn.Write(frame[:]) // after a failure the prober asks again
	_ = conn.Close()
}

func (p *pingPort) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pingPort) close() {
	p.mu.Lock()
	l := p.listener
	p.closed = true
	p.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	p.serving.Wait()
}

// listenBeside is how a client makes its ping port: it listens on the IP from which this machine reaches a node over TCP.
// Only a connection tells which IP: a name may have several addresses, of which not every one is served. Port 0 is any that
// is free.
func listenBeside(ctx context.Context, node string, port uint16) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.ConnectLimit)
	defer cancel()
	way, err := (&net.Dialer{}).DialContext(ctx, "tcp", node)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(way.LocalAddr().String())
	if err := errors.Join(err, way.Close()); err != nil {
		return nil, err
	}
	// Two processes that both allow the reuse of an address can follow each other on a port at once. Without the reuse no
	// process can have a port for a minute after its last connection, and it refuses.
	return (&net.ListenConfig{Control: disableAddressReuse}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
}
