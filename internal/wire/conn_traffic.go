package wire

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patience is how long nothing may move before a request is given up: long enough for a slow disk of the node, short
	// enough to look for another leader while this one is cut off.
	patience = 2 * time.Second

	// slowest is the slowest link that is served, in bytes a second.
	slowest = 128 << 10
)

// connTraffic counts the bytes that move over a link, over all its connections.
type connTraffic struct {
	began   time.Time
	read    atomic.Int64 // bytes
	written atomic.Int64
	moved   atomic.Int64 // when something last did, in nanoseconds since began
}

// totalBytes is all that has moved so far.
func (t *connTraffic) totalBytes() int64 { return t.read.Load() + t.written.Load() }

func (t *connTraffic) lastMove() time.Time { return t.began.Add(time.Duration(t.moved.Load())) }

// countedConn counts the bytes of a connection.
type countedConn struct {
	net.Conn
	traffic *connTraffic
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.addBytes(&c.traffic.read, n)
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.addBytes(&c.traffic.written, n)
	return n, err
}

func (c countedConn) addBytes(to *atomic.Int64, n int) {
	if n > 0 {
		to.Add(int64(n))
		c.traffic.moved.Store(int64(time.Since(c.traffic.began)))
	}
}

// transferWatch gives one request up when its transfer no longer gets on.
type transferWatch struct {
	traffic *connTraffic
	began   time.Time
	before  int64 // bytes that had moved when it began
	read    int64 // of these, from the node
	most    int64 // bytes that this request and its answer can take
	giveUp  func()

	mu      sync.Mutex
	stopped bool
	timer   *time.Timer
}

func watchTransfer(t *connTraffic, most int, giveUp func()) *transferWatch {
	w := &transferWatch{
		traffic: t, began: time.Now(), before: t.totalBytes(), read: t.read.Load(), most: int64(most), giveUp: giveUp,
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(patience, w.checkProgress)
	return w
}

func (w *transferWatch) checkProgress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	left := w.timeLeft(time.Now())
	if left > 0 {
		w.timer.Reset(left)
		return
	}
	w.stopped = true
	w.giveUp()
}

// timeLeft is for how long the request may wait still if nothing more moves. Others may share the connection: bytes that move
// for them extend the wait by no more than this request and its answer could need on the slowest link.
func (w *transferWatch) timeLeft(now time.Time) time.Duration {
	quietSince := w.began
	if last := w.traffic.lastMove(); last.After(quietSince) {
		quietSince = last
	}
	whole := patience + transferTime(w.movedBytes())
	return min(patience-now.Sub(quietSince), whole-now.Sub(w.began))
}

// movedBytes counts the bytes that moved over the connection since the watch began, no more than the request and its answer
// can have.
func (w *transferWatch) movedBytes() int64 { return min(w.traffic.totalBytes()-w.before, w.most) }

// timeTaken is the time since the watch began, no more than the bytes that moved since need over the slowest link.
func (w *transferWatch) timeTaken() time.Duration {
	return min(time.Since(w.began), transferTime(w.movedBytes()))
}

// transferTime is the time that bytes need over the slowest link.
func transferTime(bytes int64) time.Duration { return time.Duration(bytes) * time.Second / slowest }

// stopWatching ends the watch, and says whether anything was heard from the node since it began.
func (w *transferWatch) stopWatching() (heard bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
	return w.traffic.read.Load() > w.read
}
