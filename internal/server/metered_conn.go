package server

import (
	"bufio"
	"encoding/binary"
	"net"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
)

const frameHeaderBytes = 9

// meteredConn is a connection as gRPC reads it, behind TLS. It follows the frames, so that it knows how much each call brings.
// No read goes beyond a frame: while gRPC asks whether to admit a call, the frame that began it is the last one that was read.
type meteredConn struct {
	net.Conn
	calls *incomingCalls
	in    *bufio.Reader

	// The rest belongs to the one goroutine that reads.
	part   framePart
	left   int // bytes of the part that are to be read, at least one
	header [frameHeaderBytes]byte
	frame  http2.FrameHeader // of the frame that is being read
	padded int               // bytes at the frame's end
	began  uint32            // the stream of the last HEADERS frame
}

type framePart int

const (
	prefacePart framePart = iota // what a client sends first
	headerPart
	padLengthPart
	dataPart
	otherPart
)

func newMeteredConn(conn net.Conn, calls *incomingCalls) *meteredConn {
	return &meteredConn{Conn: conn, calls: calls, in: bufio.NewReaderSize(conn, readBuffer), left: len(http2.ClientPreface)}
}

func (m *meteredConn) Read(p []byte) (int, error) {
	n, err := m.in.Read(p[:min(len(p), m.left)])
	m.noteRead(p[:n])
	return n, err
}

func (m *meteredConn) noteRead(p []byte) {
	if len(p) == 0 {
		return
	}
	if m.part == headerPart {
		copy(m.header[frameHeaderBytes-m.left:], p)
	}
	if m.part == dataPart {
		m.calls.noteData(m.frame.StreamID, p)
	}
	if m.left -= len(p); m.left > 0 {
		return
	}
	switch m.part {
	case headerPart:
		m.beginFrame()
	case padLengthPart:
		m.padded = int(p[0])
		m.beginPart(dataPart, int(m.frame.Length)-1-m.padded)
	case dataPart:
		m.beginPart(otherPart, m.padded)
	default:
		m.endFrame()
	}
}

func (m *meteredConn) beginFrame() {
	m.frame = http2.FrameHeader{
		Length: uint32(m.header[0])<<16 | uint32(binary.BigEndian.Uint16(m.header[1:])),
		Type:   http2.FrameType(m.header[3]), Flags: http2.Flags(m.header[4]),
		StreamID: binary.BigEndian.Uint32(m.header[5:]) & (1<<31 - 1),
	}
	m.padded = 0
	switch {
	case m.frame.Type == http2.FrameHeaders:
		m.began = m.frame.StreamID
		m.beginPart(otherPart, int(m.frame.Length))
	case m.frame.Type != http2.FrameData:
		m.beginPart(otherPart, int(m.frame.Length))
	case m.frame.Flags.Has(http2.FlagDataPadded) && m.frame.Length > 0:
		m.beginPart(padLengthPart, 1)
	default:
		m.beginPart(dataPart, int(m.frame.Length))
	}
}

// beginPart goes on with a part of the frame, or behind it if it is empty. A frame that is padded with more than it has is
// gRPC's to refuse, with the connection.
func (m *meteredConn) beginPart(part framePart, bytes int) {
	switch {
	case bytes > 0:
		m.part, m.left = part, bytes
	case part == dataPart && m.padded > 0:
		m.beginPart(otherPart, m.padded)
	default:
		m.endFrame()
	}
}

func (m *meteredConn) endFrame() {
	if m.frame.Flags.Has(http2.FlagDataEndStream) && (m.frame.Type == http2.FrameData || m.frame.Type == http2.FrameHeaders) {
		m.calls.noteLast(m.frame.StreamID) // a HEADERS frame that begins a call is not known yet, and gRPC sees that it brings nothing
	}
	m.part, m.left = headerPart, frameHeaderBytes
}

// meteringCredentials are a port's credentials under which every connection is metered.
type meteringCredentials struct {
	credentials.TransportCredentials
	server *Server
}

func (t meteringCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	peer, ok := raw.(*peerConn)
	if err != nil || !ok {
		return conn, info, err
	}
	peer.metered = newMeteredConn(conn, &incomingCalls{server: t.server, streams: map[uint32]*incomingCall{}})
	return peer.metered, info, nil
}

func (t meteringCredentials) Clone() credentials.TransportCredentials {
	return meteringCredentials{t.TransportCredentials.Clone(), t.server}
}
