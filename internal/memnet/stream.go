package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const window = 1 << 20 // bytes under way in one direction

// pipe is one direction of a connection.
type pipe struct {
	network *Network
	at      link
	back    *pipe       // the other direction
	mute    atomic.Bool // its writer's machine has vanished: nothing arrives, and no end either

	mu     sync.Mutex
	moved  *sync.Cond
	chunks []chunk
	size   int
	ended  bool // by its writer, behind the chunks
	gone   bool // its reader has closed
	reset  bool // its reader was told by the other direction that the writer's end is closed: nothing more arrives

	readLimit, writeLimit limit
}

type chunk struct {
	bytes []byte
	ready time.Time
}

// limit is a deadline that wakes what waits.
type limit struct {
	at    time.Time
	timer *time.Timer
}

func (l limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }

func (n *Network) newPipe(from, to string) *pipe {
	p := &pipe{network: n, at: link{from, to}}
	p.moved = sync.NewCond(&p.mu)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pipes[p] = struct{}{}
	return p
}

func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved.Broadcast()
}

func (p *pipe) linkState() linkState { return p.network.linkState(p.at.from, p.at.to) }

func (p *pipe) setLimit(l *limit, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		l.timer = time.AfterFunc(wait, p.wake)
	}
	p.moved.Broadcast()
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.gone:
			return 0, net.ErrClosed
		case p.readLimit.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		if !p.linkState().cut && !p.mute.Load() {
			if len(p.chunks) == 0 && p.reset {
				return 0, syscall.ECONNRESET
			}
			if len(p.chunks) == 0 && p.ended {
				return 0, io.EOF
			}
			if len(p.chunks) > 0 {
				if wait := time.Until(p.chunks[0].ready); wait <= 0 {
					return p.take(b), nil
				} else {
					time.AfterFunc(wait, p.wake)
				}
			}
		}
		p.moved.Wait()
	}
}

func (p *pipe) take(b []byte) int {
	c := &p.chunks[0]
	n := copy(b, c.bytes)
	if c.bytes = c.bytes[n:]; len(c.bytes) == 0 {
		p.chunks = p.chunks[1:]
	}
	p.size -= n
	p.moved.Broadcast()
	return n
}

// closeIsKnown says whether the reader's machine could tell that it has closed. As long as it cannot, reading the other
// direction does not end either.
func (p *pipe) closeIsKnown() bool {
	return !p.network.linkState(p.at.to, p.at.from).cut && !p.back.mute.Load()
}

// resetReader is what a reset does to the direction that its receiver reads: bytes that have not arrived are lost. A write that fails
// on a connection whose reads go on waiting is something that no kernel shows, and gRPC spins on it: it retries the call on
// a transport that only its reader can end.
func (p *pipe) resetReader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset = true
	now := time.Now()
	if i := slices.IndexFunc(p.chunks, func(c chunk) bool { return c.ready.After(now) }); i >= 0 {
		p.chunks = p.chunks[:i] // the bytes behind it cannot be read either
	}
	p.size = 0
	for _, c := range p.chunks {
		p.size += len(c.bytes)
	}
	p.moved.Broadcast()
}

func (p *pipe) write(b []byte) (int, error) {
	sent, err := p.appendChunks(b)
	if err == syscall.EPIPE {
		p.back.resetReader()
	}
	return sent, err
}

func (p *pipe) appendChunks(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := 0
	for {
		switch {
		case p.ended:
			return sent, net.ErrClosed
		case p.gone && p.closeIsKnown():
			return sent, syscall.EPIPE
		case p.writeLimit.passed():
			return sent, os.ErrDeadlineExceeded
		case sent == len(b):
			return sent, nil
		}
		if room := min(window-p.size, len(b)-sent); room > 0 {
			bytes := append([]byte(nil), b[sent:sent+room]...)
			p.chunks = append(p.chunks, chunk{bytes, time.Now().Add(p.linkState().drawDelay())})
			p.size += room
			sent += room
			p.moved.Broadcast()
			continue
		}
		p.moved.Wait()
	}
}

// end is the writer's close, or the reader's.
func (p *pipe) end(reader bool) {
	p.mu.Lock()
	own := &p.writeLimit // the other end still waits for its own
	if reader {
		p.gone, own = true, &p.readLimit
	} else {
		p.ended = true
	}
	if own.timer != nil {
		own.timer.Stop()
	}
	p.moved.Broadcast()
	both := p.gone && p.ended
	p.mu.Unlock()
	if both {
		p.network.mu.Lock()
		delete(p.network.pipes, p)
		p.network.mu.Unlock()
	}
}

type conn struct {
	local, remote string
	read, write   *pipe
	machine       *machine
}

func (c *conn) Read(b []byte) (int, error)  { return c.read.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.write.write(b) }
func (c *conn) LocalAddr() net.Addr         { return streamAddr(c.local) }
func (c *conn) RemoteAddr() net.Addr        { return streamAddr(c.remote) }

func (c *conn) Close() error {
	c.read.network.removeConn(c)
	c.read.end(true)
	c.write.end(false)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.setLimit(&c.read.readLimit, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.setLimit(&c.write.writeLimit, t)
	return nil
}
