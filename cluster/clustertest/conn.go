package clustertest

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

// half is one direction of a connection.
type half struct {
	network *Network
	at      link
	back    *half       // the other direction
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

// limit is a deadline that wakes whoever waits.
type limit struct {
	at    time.Time
	timer *time.Timer
}

func (l limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }

func (n *Network) half(from, to string) *half {
	h := &half{network: n, at: link{from, to}}
	h.moved = sync.NewCond(&h.mu)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.halves[h] = struct{}{}
	return h
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moved.Broadcast()
}

func (h *half) link() state {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	return *h.network.link(h.at.from, h.at.to)
}

func (h *half) set(l *limit, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		l.timer = time.AfterFunc(wait, h.wake)
	}
	h.moved.Broadcast()
}

func (h *half) get(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.readLimit.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		if !h.link().cut && !h.mute.Load() {
			if len(h.chunks) == 0 && h.reset {
				return 0, syscall.ECONNRESET
			}
			if len(h.chunks) == 0 && h.ended {
				return 0, io.EOF
			}
			if len(h.chunks) > 0 {
				if wait := time.Until(h.chunks[0].ready); wait <= 0 {
					return h.pop(p), nil
				} else {
					time.AfterFunc(wait, h.wake)
				}
			}
		}
		h.moved.Wait()
	}
}

func (h *half) pop(p []byte) int {
	c := &h.chunks[0]
	n := copy(p, c.bytes)
	if c.bytes = c.bytes[n:]; len(c.bytes) == 0 {
		h.chunks = h.chunks[1:]
	}
	h.size -= n
	h.moved.Broadcast()
	return n
}

// heard says whether the reader's machine could tell that it has closed. As long as it cannot, reading the other direction
// does not end either.
func (h *half) heard() bool {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	return !h.network.link(h.at.to, h.at.from).cut && !h.back.mute.Load()
}

// refuse is what a reset does to the direction that its receiver reads: what has not arrived is lost. A write that fails
// on a connection whose reads go on waiting is something that no kernel shows, and gRPC spins on it: it retries the call on
// a transport that only its reader can end.
func (h *half) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reset = true
	now := time.Now()
	if i := slices.IndexFunc(h.chunks, func(c chunk) bool { return c.ready.After(now) }); i >= 0 {
		h.chunks = h.chunks[:i] // what came behind it cannot be read either
	}
	h.size = 0
	for _, c := range h.chunks {
		h.size += len(c.bytes)
	}
	h.moved.Broadcast()
}

func (h *half) put(p []byte) (int, error) {
	sent, err := h.fill(p)
	if err == syscall.EPIPE {
		h.back.refuse()
	}
	return sent, err
}

func (h *half) fill(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := 0
	for {
		switch {
		case h.ended:
			return sent, net.ErrClosed
		case h.gone && h.heard():
			return sent, syscall.EPIPE
		case h.writeLimit.passed():
			return sent, os.ErrDeadlineExceeded
		case sent == len(p):
			return sent, nil
		}
		if room := min(window-h.size, len(p)-sent); room > 0 {
			bytes := append([]byte(nil), p[sent:sent+room]...)
			h.chunks = append(h.chunks, chunk{bytes, time.Now().Add(h.link().under())})
			h.size += room
			sent += room
			h.moved.Broadcast()
			continue
		}
		h.moved.Wait()
	}
}

// end is the writer's close, or the reader's.
func (h *half) end(reader bool) {
	h.mu.Lock()
	own := &h.writeLimit // the other end still waits for its own
	if reader {
		h.gone, own = true, &h.readLimit
	} else {
		h.ended = true
	}
	if own.timer != nil {
		own.timer.Stop()
	}
	h.moved.Broadcast()
	both := h.gone && h.ended
	h.mu.Unlock()
	if both {
		h.network.mu.Lock()
		delete(h.network.halves, h)
		h.network.mu.Unlock()
	}
}

type conn struct {
	local, remote addr
	read, write   *half
	life          *life
}

func (c *conn) Read(p []byte) (int, error)  { return c.read.get(p) }
func (c *conn) Write(p []byte) (int, error) { return c.write.put(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.read.network.leave(c)
	c.read.end(true)
	c.write.end(false)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.set(&c.read.readLimit, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.set(&c.write.writeLimit, t)
	return nil
}
