package peerwire

import (
	"net"
	"sync"
	"time"
)

// progressLimit is how long a connection may make no progress in the middle of a message. A follower reads a snapshot in
// raft's main loop: a sender that vanished would keep it from voting until TCP gives up.
const progressLimit = 10 * time.Second

const (
	writePiece   = 64 << 10  // bytes that are written under one deadline
	slowestBytes = 256 << 10 // bytes a second of the slowest link or disk over which a call of raft still succeeds
)

// raftConn is a connection of raft, accepted or dialed. Between messages it may be idle without limit, since raft pools
// connections and a pooled one that was closed costs an election; the keepalive finds a dead peer.
type raftConn struct {
	net.Conn
	incoming bool
	onClose  func(*raftConn)

	mu         sync.Mutex
	midMessage bool      // the last operation was a read that returned bytes: part of a message has arrived
	readErr    error     // of the read that failed; raft also reads the rest of a failed snapshot, and would wait another progressLimit
	raftLimit  time.Time // the deadline that raft set for its call; zero: none
	callBytes  int       // bytes written since then
}

func (c *raftConn) Read(p []byte) (int, error) {
	if !c.incoming {
		return c.Conn.Read(p)
	}
	if err := c.setReadLimit(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.midMessage = c.midMessage || n > 0
	c.readErr = err
	return n, err
}

// setReadLimit sets the deadline of a read.
func (c *raftConn) setReadLimit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readErr != nil {
		return c.readErr
	}
	var limit time.Time
	if c.midMessage {
		limit = time.Now().Add(progressLimit)
	}
	return c.Conn.SetReadDeadline(limit)
}

// Write writes p in pieces, each of which must make progress. What is written moves the deadline of raft's call: raft gives each
// call the same time, and would give up and repeat without end a large one over a slow link, or to a slow disk.
func (c *raftConn) Write(p []byte) (written int, err error) {
	for written < len(p) {
		piece := p[written:min(len(p), written+writePiece)]
		if err := c.setWriteLimit(len(piece)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raftLimit.IsZero() {
		return written, nil
	}
	return written, c.Conn.SetReadDeadline(c.callLimit())
}

// setWriteLimit sets the deadline for writing the next piece.
func (c *raftConn) setWriteLimit(bytes int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.midMessage = false
	c.callBytes += bytes
	limit := time.Now().Add(progressLimit)
	if of := c.callLimit(); !of.IsZero() && of.Before(limit) {
		limit = of
	}
	return c.Conn.SetWriteDeadline(limit)
}

// callLimit returns the deadline of raft's call with what was written so far, zero if there is none. mu must be held.
func (c *raftConn) callLimit() time.Time {
	if c.raftLimit.IsZero() {
		return time.Time{}
	}
	return c.raftLimit.Add(time.Duration(c.callBytes) * time.Second / slowestBytes)
}

// SetDeadline begins a call of raft.
func (c *raftConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raftLimit, c.callBytes = t, 0
	return c.Conn.SetDeadline(t)
}

func (c *raftConn) Close() error {
	c.onClose(c)
	return c.Conn.Close()
}
