package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/profilenode/profilenode/api/profilev1"
)

// writtenConn is a connection over which these bytes come.
type writtenConn struct {
	net.Conn
	*bytes.Buffer
}

func (c writtenConn) Read(p []byte) (int, error)  { return c.Buffer.Read(p) }
func (c writtenConn) Write(p []byte) (int, error) { return c.Buffer.Write(p) }

// meteredWorld is one connection of a server that serves nothing.
type meteredWorld struct {
	t      *testing.T
	server *Server
	conn   *meteredConn
	writes *http2.Framer
	reads  *http2.Framer
}

func newMeteredWorld(t *testing.T) *meteredWorld {
	s := &Server{
		cutCalls: &rareLog{log: slog.New(slog.DiscardHandler)},
		limits:   Limits{}.withDefaults(), received: newByteBudget(8 << 20), log: slog.New(slog.DiscardHandler),
		streaming: map[string]bool{profilev1.Profiles_Live_FullMethodName: true},
	}
	in := writtenConn{Buffer: new(bytes.Buffer)}
	m := &meteredWorld{t: t, server: s, conn: newMeteredConn(in, &incomingCalls{server: s, streams: map[uint32]*incomingCall{}})}
	m.writes, m.reads = http2.NewFramer(in, nil), http2.NewFramer(nil, m.conn)
	in.WriteString(http2.ClientPreface)
	if _, err := io.ReadFull(m.conn, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Fatal(err)
	}
	return m
}

// open begins a call as gRPC does when it has read the frame that begins one.
func (m *meteredWorld) open(stream uint32, method string) context.Context {
	m.t.Helper()
	m.check(m.writes.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{1}, EndHeaders: true}))
	m.check(m.writes.WriteData(stream+2, false, []byte("of a call that is not known")))
	m.read(1)
	if m.conn.began != stream {
		m.t.Fatalf("the call that begins is on stream %d, want %d", m.conn.began, stream)
	}
	ctx, end := context.WithCancel(m.t.Context())
	m.t.Cleanup(end)
	ctx = m.conn.calls.beginCall(ctx, stream, method, 0)
	m.read(1)
	return ctx
}

func (m *meteredWorld) read(frames int) {
	m.t.Helper()
	for range frames {
		if _, err := m.reads.ReadFrame(); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *meteredWorld) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// bring sends data in frames with padding, with none, and with nothing but padding.
func (m *meteredWorld) bring(stream uint32, data []byte) {
	m.t.Helper()
	half := len(data) / 2
	m.check(m.writes.WriteDataPadded(stream, false, data[:half], make([]byte, 3)))
	m.check(m.writes.WriteDataPadded(stream, false, nil, make([]byte, 7)))
	m.check(m.writes.WriteData(stream, false, nil))
	m.check(m.writes.WriteData(stream, false, data[half:]))
	m.read(4)
}

func prefixOf(size int) []byte { return binary.BigEndian.AppendUint32([]byte{0}, uint32(size)) }

// A message may take ten seconds, and one more for each 64 KiB that have come. Less ends the call.
func TestTheDeadlineFollowsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeteredWorld(t)
		save := m.open(1, profilev1.Profiles_Save_FullMethodName)
		mute := m.open(5, profilev1.Profiles_Save_FullMethodName)
		const size = 2 << 20
		m.bring(1, prefixOf(size))
		brought := 0
		for began := time.Now(); brought < size && save.Err() == nil; brought += 32 << 10 { // 64 KiB/s
			m.bring(1, make([]byte, 32<<10))
			time.Sleep(500 * time.Millisecond)
			if mute.Err() == nil && time.Since(began) > 10*time.Second {
				t.Fatal("a call that brings nothing goes on")
			}
		}
		if !errors.Is(mute.Err(), context.DeadlineExceeded) {
			t.Errorf("the call that brought nothing ended with %v", mute.Err())
		}
		if save.Err() != nil {
			t.Fatalf("the call was ended at %d of %d bytes: %v", brought, size, save.Err())
		}
		m.check(m.writes.WriteData(1, true, nil))
		m.read(1)
		time.Sleep(time.Hour)
		if save.Err() != nil {
			t.Errorf("a call whose message is here was ended: %v", save.Err())
		}

		slow := m.open(7, profilev1.Profiles_Save_FullMethodName)
		m.bring(7, prefixOf(size))
		m.bring(7, make([]byte, 128<<10))
		time.Sleep(12*time.Second - time.Millisecond)
		synctest.Wait()
		if slow.Err() != nil {
			t.Errorf("ended before 12 s: %v", slow.Err())
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if slow.Err() == nil {
			t.Error("a call that stopped after 128 KiB goes on after 12 s")
		}
	})
}

// A call of one message brings nothing behind it.
func TestOneMessageIsAll(t *testing.T) {
	m := newMeteredWorld(t)
	get := m.open(1, profilev1.Profiles_Get_FullMethodName)
	m.bring(1, append(prefixOf(100), make([]byte, 100)...))
	if get.Err() != nil {
		t.Fatalf("after its message: %v", get.Err())
	}
	m.bring(1, []byte{0})
	if get.Err() == nil {
		t.Error("a call that brings more than its message goes on")
	}
}

// A stream may be quiet between its messages, and not within one.
func TestAStreamMayBeQuietBetweenMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeteredWorld(t)
		live := m.open(1, profilev1.Profiles_Live_FullMethodName)
		for range 3 {
			m.bring(1, append(prefixOf(100), make([]byte, 100)...))
			time.Sleep(time.Hour)
		}
		if live.Err() != nil {
			t.Fatalf("a quiet stream was ended: %v", live.Err())
		}
		m.bring(1, append(prefixOf(100), make([]byte, 99)...))
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if live.Err() == nil {
			t.Error("a stream within a message goes on")
		}
	})
}
