package peerwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// pipes is a listener whose connections a test makes.
type pipes struct {
	made  chan net.Conn
	ended chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.ended); return nil }
func (p *pipes) Addr() net.Addr { return raftStreamAddr("pipe") }

// endingConn says when it has been closed.
type endingConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *endingConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// port is a node's port as it is before the node is in a cluster, with raft's own transport behind it, whose calls are
// refused.
func port(f *testing.F) *pipes {
	p := &pipes{made: make(chan net.Conn), ended: make(chan struct{})}
	log := slog.New(slog.DiscardHandler)
	n, err := Listen(Config{ID: "n", Bind: "n:1", Listen: func(string, string) (net.Listener, error) { return p, nil }, Log: log})
	if err != nil {
		f.Fatal(err)
	}
	n.SetCluster("c")
	wire := NewRaftTransport(n, hclog.NewNullLogger(), nil)
	go n.AcceptConns(someAnswers("n"))
	go func() {
		for call := range wire.Consumer() {
			if call.Reader != nil {
				_, _ = io.Copy(io.Discard, call.Reader)
			}
			call.Respond(nil, errors.New("refused"))
		}
	}()
	return p
}

// frame is the first frame and a message behind it, as they lie on the wire.
func frame(f *testing.F, o openingFrame, about questionKind, payload []byte) []byte {
	var b bytes.Buffer
	if err := o.write(&b); err != nil {
		f.Fatal(err)
	}
	if about != 0 {
		if err := writeMessage(&b, about, payload); err != nil {
			f.Fatal(err)
		}
	}
	return b.Bytes()
}

// FuzzPort: whatever bytes come to the nodes' port, the node goes on, and takes memory in proportion to what came.
func FuzzPort(f *testing.F) {
	strict := openingFrame{kind: kindPeer, cluster: "c", target: "n", sender: "m"}
	f.Add(frame(f, strict, questionNonce, make([]byte, 8)))
	f.Add(frame(f, strict, questionHello, []byte(`{"digest_at":7}`)))
	f.Add(frame(f, openingFrame{kind: kindPeer}, questionHello, []byte("{}")))
	f.Add(frame(f, openingFrame{kind: kindPeer}, questionJoin, []byte(`{"id":"x","address":"x:1","level":1}`)))
	f.Add(append(frame(f, strict, 0, nil), 0, 0xff, 0xff, 0xff, byte(questionHello)))
	calls := frame(f, openingFrame{kind: kindRaft, cluster: "c", target: "n", sender: "m"}, 0, nil)
	f.Add(calls)
	for _, call := range raftCalls(f) {
		f.Add(append(bytes.Clone(calls), call...))
	}
	// A list of four thousand million entries, and one entry of as many bytes.
	f.Add(append(bytes.Clone(calls), 0, 0x81, 0xa7, 'E', 'n', 't', 'r', 'i', 'e', 's', 0xdd, 0xff, 0xff, 0xff, 0xff))
	f.Add(append(bytes.Clone(calls), 0, 0x81, 0xa6, 'L', 'e', 'a', 'd', 'e', 'r', 0xc6, 0xff, 0xff, 0xff, 0xff))
	f.Add([]byte(wireMagic))
	p := port(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := allocated()
		ours, theirs := net.Pipe()
		node := &endingConn{Conn: theirs, closed: make(chan struct{})}
		p.made <- node
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		ours.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = ours.Write(data) // it may hang up in the middle
		ours.Close()
		select {
		case <-node.closed:
		case <-time.After(10 * time.Second):
			t.Fatal("the node holds on to a connection that has ended")
		}
		if took := allocated() - before; took > 4<<20+100*uint64(len(data)) {
			t.Fatalf("%d bytes on the wire made the node take %d", len(data), took)
		}
	})
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// raftCalls are some calls as raft's own transport writes them.
func raftCalls(f *testing.F) (calls [][]byte) {
	head := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("m"), Addr: []byte("m@m:1")}
	entries := []*raft.Log{{Index: 3, Term: 2, Type: raft.LogCommand, Data: []byte("x"), AppendedAt: time.Unix(1, 0)}}
	for _, call := range []func(*raft.NetworkTransport) error{
		func(t *raft.NetworkTransport) error {
			return t.AppendEntries("n", "n@n:1", &raft.AppendEntriesRequest{RPCHeader: head, Term: 2, PrevLogEntry: 2, Entries: entries}, &raft.AppendEntriesResponse{})
		},
		func(t *raft.NetworkTransport) error {
			return t.RequestVote("n", "n@n:1", &raft.RequestVoteRequest{RPCHeader: head, Term: 2}, &raft.RequestVoteResponse{})
		},
		func(t *raft.NetworkTransport) error {
			return t.RequestPreVote("n", "n@n:1", &raft.RequestPreVoteRequest{RPCHeader: head, Term: 2}, &raft.RequestPreVoteResponse{})
		},
		func(t *raft.NetworkTransport) error {
			return t.InstallSnapshot("n", "n@n:1", &raft.InstallSnapshotRequest{RPCHeader: head, Term: 2, Size: 5}, &raft.InstallSnapshotResponse{}, bytes.NewReader([]byte("state")))
		},
		func(t *raft.NetworkTransport) error {
			return t.TimeoutNow("n", "n@n:1", &raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{})
		},
	} {
		calls = append(calls, recorded(f, call))
	}
	return calls
}

// recorded is what a call writes before it waits for its answer.
func recorded(f *testing.F, call func(*raft.NetworkTransport) error) []byte {
	ours, theirs := net.Pipe()
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: recorder{ours, make(chan struct{})}, MaxPool: 1, Timeout: time.Second})
	defer t.Close()
	wrote := make(chan []byte)
	go func() {
		var b bytes.Buffer
		for {
			theirs.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := io.CopyN(&b, theirs, 1); err != nil {
				theirs.Close()
				wrote <- b.Bytes()
				return
			}
		}
	}()
	if err := call(t); err == nil {
		f.Fatal("a call was answered by nobody")
	}
	return <-wrote
}

type recorder struct {
	to    net.Conn
	ended chan struct{}
}

func (r recorder) Accept() (net.Conn, error) { <-r.ended; return nil, net.ErrClosed }
func (r recorder) Close() error              { close(r.ended); return nil }
func (r recorder) Addr() net.Addr            { return raftStreamAddr("m@m:1") }
func (r recorder) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return r.to, nil
}

// Whoever names a length and sends nothing costs nothing.
func TestALyingLengthCostsNothing(t *testing.T) {
	head := append(binary.BigEndian.AppendUint32(nil, maxMessageBytes), byte(questionHello))
	before := allocated()
	for range 100 {
		if _, _, err := readMessage(bytes.NewReader(head), maxMessageBytes); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("a message without its bytes: %v", err)
		}
	}
	if took := (allocated() - before) / 100; took > 16<<10 {
		t.Errorf("a length alone took %d bytes", took)
	}
	if _, _, err := readMessage(bytes.NewReader(head), maxQuestionBytes); !errors.Is(err, errWireFormat) {
		t.Errorf("a question of %d bytes: %v, want a closed connection", maxMessageBytes, err)
	}
	whole := append(head, make([]byte, maxMessageBytes)...)
	if about, payload, err := readMessage(bytes.NewReader(whole), maxMessageBytes); err != nil || about != questionHello || len(payload) != maxMessageBytes {
		t.Errorf("a whole message is %d bytes, %v", len(payload), err)
	}
}
