package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// gRPC waits for a call's message without end, keeps what has come of it, and knows one limit of size for all methods. So each
// connection follows its calls by the frames that gRPC reads (metered_conn.go), and ends the context of a call that is too slow
// or too large. gRPC then drops what has come, and answers with the context's error.

const (
	maxSmallRequest = 256 << 10 // bytes of a message of a method that brings no profile data
	bytesPerSecond  = 64 << 10  // that give an unfinished message one more second
	uncountedBytes  = 16 << 10  // of each call, a frame of HTTP/2: their sum is bounded by the number of calls
	messagePrefix   = 5         // bytes before each message of gRPC: whether it is compressed, and its length
)

// callContext is the context of a call. Its error says why the call was ended.
type callContext struct{ context.Context }

func (c callContext) Err() error { return context.Cause(c.Context) }

// incomingCalls are the calls over one connection, which may still bring something.
type incomingCalls struct {
	server *Server

	mu      sync.Mutex
	streams map[uint32]*incomingCall
}

// incomingCall is one call. What changes is guarded by incomingCalls.mu.
type incomingCall struct {
	of      *incomingCalls
	end     context.CancelCauseFunc
	method  string
	host    string
	limit   int  // bytes of one message
	streams bool // it may bring more than one message

	unfinished bool // a message has begun to come, or the first one has not; a call of one message: until the caller says that it is all
	whole      bool // a message has come
	prefix     [messagePrefix]byte
	prefixGot  int       // bytes of it
	since      time.Time // when the message was begun to be waited for
	got        int       // bytes of the message that have come
	left       int       // and those to come
	counted    int64     // bytes of Server.received that the call holds
	deadline   *time.Timer
}

// beginCall follows a call until its context ends, and returns that context. counted bytes of Server.received are the call's.
func (i *incomingCalls) beginCall(ctx context.Context, stream uint32, method string, counted int64) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	host, _ := peerOf(ctx)
	c := &incomingCall{
		of: i, end: end, method: method, host: host, limit: maxSmallRequest, streams: i.server.streaming[method],
		unfinished: true, since: time.Now(), counted: counted,
	}
	if bringsData(method) {
		c.limit = maxRequestBytes
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c.deadline = time.AfterFunc(i.server.limits.Receive, c.checkProgress)
	i.streams[stream] = c
	context.AfterFunc(ctx, func() { i.forgetCall(stream, c) })
	return callContext{ctx}
}

func (i *incomingCalls) forgetCall(stream uint32, c *incomingCall) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.streams, stream)
	c.finish()
	i.server.received.giveBack(c.counted)
}

// noteData takes note of data of a stream.
func (i *incomingCalls) noteData(stream uint32, data []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.streams[stream]; c != nil {
		c.receive(data)
	}
}

// noteLast takes note that a stream brings no more.
func (i *incomingCalls) noteLast(stream uint32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.streams[stream]; c != nil {
		c.finish()
	}
}

func (c *incomingCall) receive(data []byte) {
	for len(data) > 0 {
		if c.whole && !c.streams {
			c.cut(fmt.Errorf("%s brings more than its one message", c.method))
			return
		}
		if !c.unfinished {
			c.unfinished, c.since = true, time.Now()
			c.deadline.Reset(c.of.server.limits.Receive)
		}
		if c.prefixGot < messagePrefix {
			n := copy(c.prefix[c.prefixGot:], data)
			c.prefixGot += n
			data = data[n:]
			if c.prefixGot < messagePrefix {
				return
			}
			if err := c.admitMessage(int64(binary.BigEndian.Uint32(c.prefix[1:]))); err != nil {
				c.cut(err)
				return
			}
		}
		n := min(c.left, len(data))
		c.got, c.left, data = c.got+n, c.left-n, data[n:]
		if c.left == 0 {
			c.whole, c.prefixGot, c.got = true, 0, 0
			if c.streams {
				c.finish()
			}
		}
	}
}

// admitMessage makes room for a message of the size that its prefix states.
func (c *incomingCall) admitMessage(size int64) error {
	if size > int64(c.limit) {
		return fmt.Errorf("%s brings a message of %d bytes, over its limit of %d", c.method, size, c.limit)
	}
	if more := size - c.counted; more > uncountedBytes {
		if !c.of.server.received.takeIfFree(more) {
			return fmt.Errorf("%s brings a message of %d bytes, and too many bytes come in at this time: try again", c.method, size)
		}
		c.counted += more
	}
	c.left = int(size)
	return nil
}

// checkProgress ends the call if its message is late.
func (c *incomingCall) checkProgress() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if !c.unfinished {
		return
	}
	allowed := c.of.server.limits.Receive + time.Duration(c.got)*time.Second/bytesPerSecond
	if left := allowed - time.Since(c.since); left > 0 {
		c.deadline.Reset(left)
		return
	}
	c.cut(context.DeadlineExceeded)
}

func (c *incomingCall) finish() {
	c.unfinished = false
	c.deadline.Stop()
}

func (c *incomingCall) cut(why error) {
	c.finish()
	c.of.server.cutCalls.warn("code", "CALLS_CUT", "host", c.host, "method", c.method, "reason", why)
	c.end(why)
}
