package peerwire

import (
	"net"
	"sync"
	"time"
)

// progressLimit is how long a connection may make no progress in the middle of a message. A follower reads a snapshot in
// raft's main loop: a sender that vanished would keep it from voting until TCP gives up.
const progressLimit = 10 * time.Second

// raftConn is a connection of raft, accepted or dialed. Between messages it may be idle without limit, since raft pools
// connections and a pooled one that was closed costs an election; the keepalive finds a dead peer.
type raftConn struct {
	net.Conn
	incoming bool
	onClose  func(*raftConn)

	mu             sync.Mutex
	midMessage     bool      // the last operation was a read that returned bytes: part of a message has arrived
	readErr        error     // of the read that failed; raft also reads the rest of a failed snapshot, and would wait another progressLimit
	raftWriteLimit time.Time // the deadline that raft itself set
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

func (c *raftConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.midMessage = false
	limit := time.Now().Add(progressLimit)
	if !c.raftWriteLimit.IsZero() && c.raftWriteLimit.Before(limit) {
		limit = c.raftWriteLimit
	}
	err := c.Conn.SetWriteDeadline(limit)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *raftConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *raftConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raftWriteLimit = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *raftConn) Close() error {
	c.onClose(c)
	return c.Conn.Close()
}
