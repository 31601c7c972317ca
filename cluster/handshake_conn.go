package cluster

import (
	"net"
	"sync"
	"time"
)

// progressLimit is how long a connection may stand still in the midst of a message. A follower reads a snapshot in its
// main loop: a sender that vanished would keep it from voting until TCP gives up.
const progressLimit = 10 * time.Second

// handshakeConn is a connection of raft's, either way. Between messages it may stay idle for as long as it likes, since raft
// pools connections and a pooled one that was closed costs an election; the keepalive finds a dead peer.
type handshakeConn struct {
	net.Conn
	incoming bool
	forget   func(*handshakeConn)

	mu         sync.Mutex
	within     bool      // the last act was a read that brought something: a message is half here
	over       error     // of the read that failed: raft reads the rest of a failed snapshot too, and would wait once more
	writeLimit time.Time // the deadline that raft itself set
}

func (c *handshakeConn) Read(p []byte) (int, error) {
	if !c.incoming {
		return c.Conn.Read(p)
	}
	if err := c.awaitHandshake(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.within = c.within || n > 0
	c.over = err
	return n, err
}

// awaitHandshake sets the deadline of a read.
func (c *handshakeConn) awaitHandshake() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	var limit time.Time
	if c.within {
		limit = time.Now().Add(progressLimit)
	}
	return c.Conn.SetReadDeadline(limit)
}

func (c *handshakeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.within = false
	limit := time.Now().Add(progressLimit)
	if !c.writeLimit.IsZero() && c.writeLimit.Before(limit) {
		limit = c.writeLimit
	}
	err := c.Conn.SetWriteDeadline(limit)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *handshakeConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *handshakeConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeLimit = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *handshakeConn) Close() error {
	c.forget(c)
	return c.Conn.Close()
}
