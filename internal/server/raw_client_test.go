package server_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawClient speaks HTTP/2 itself, so that it can leave calls unfinished as no client of gRPC does.
type rawClient struct {
	t       *testing.T
	conn    net.Conn
	framer  *http2.Framer
	headers *hpack.Encoder
	block   bytes.Buffer
	last    uint32 // stream; a client's are odd

	writing sync.Mutex
	mu      sync.Mutex
	ended   map[uint32]string // grpc-status and grpc-message of calls that the server has ended
	changed chan struct{}     // closed and made anew when a call ends
}

func newRawClient(t *testing.T, conn net.Conn) *rawClient {
	t.Helper()
	c := &rawClient{t: t, conn: conn, framer: http2.NewFramer(conn, conn), ended: map[uint32]string{}, changed: make(chan struct{}), last: 1}
	c.headers = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.readFrames()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-read
	})
	return c
}

func (c *rawClient) readFrames() {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.write(c.framer.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				c.write(func() error { return c.framer.WritePing(true, f.Data) })
			}
		case *http2.MetaHeadersFrame:
			if f.StreamEnded() {
				said := ""
				for _, field := range f.Fields {
					if field.Name == "grpc-status" || field.Name == "grpc-message" {
						said += field.Value + " "
					}
				}
				c.noteEnd(f.StreamID, said)
			}
		case *http2.RSTStreamFrame:
			c.noteEnd(f.StreamID, "")
		}
	}
}

func (c *rawClient) noteEnd(stream uint32, said string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[stream] += said
	close(c.changed)
	c.changed = make(chan struct{})
}

// write leaves errors to the wait for what should follow: the server may end the connection.
func (c *rawClient) write(frame func() error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = frame()
}

// open begins a call. metadata are names and values.
func (c *rawClient) open(method string, metadata ...string) (stream uint32) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.last += 2
	c.block.Reset()
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", method, ":authority", "node", "content-type", "application/grpc", "te", "trailers"}, metadata...)
	for i := 0; i < len(fields); i += 2 {
		if err := c.headers.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: c.block.Bytes(), EndHeaders: true})
	return c.last
}

// begin brings the beginning of a message that states a size, at most 60 KiB, which every server's window has room for. pad is how many bytes of padding each frame has.
func (c *rawClient) begin(stream uint32, size, brought, pad int) {
	data := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), make([]byte, brought)...)
	for len(data) > 0 {
		n := min(len(data), 8<<10)
		c.write(func() error { return c.framer.WriteDataPadded(stream, false, data[:n], make([]byte, pad)) })
		data = data[n:]
	}
}

func (c *rawClient) close() { _ = c.conn.Close() }

func (c *rawClient) hasEnded(stream uint32) (said string, ended bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	said, ended = c.ended[stream]
	return said, ended, c.changed
}

// awaitEnd waits until the server has ended a call, and returns the status and its message.
func (c *rawClient) awaitEnd(stream uint32) string {
	c.t.Helper()
	late := time.After(patience)
	for {
		said, ended, changed := c.hasEnded(stream)
		if ended {
			return said
		}
		select {
		case <-changed:
		case <-late:
			c.t.Fatalf("the call on stream %d was not ended", stream)
		}
	}
}
