package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// loopback is a transport that counts nothing but what it lets in.
func loopback(t *testing.T, id, cluster string) *transport {
	t.Helper()
	c := DefaultConfig()
	c.Bind, c.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	tr, err := listenForNodes(c, id)
	if err != nil {
		t.Fatal(err)
	}
	tr.serveQuestions = func(c net.Conn, _ bool) { c.Write([]byte{1}) }
	tr.setCluster(cluster)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		tr.acceptConns()
	}()
	go func() {
		for {
			select {
			case s := <-tr.raftConns:
				s.Write([]byte{1})
				s.Close()
			case <-tr.ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		tr.close()
		<-accepted
	})
	return tr
}

func TestOnlyWhoNamesThisNodeOfThisClusterIsLetIn(t *testing.T) {
	b := loopback(t, "b", "c1")
	a := loopback(t, "a", "c1")
	for _, test := range []struct {
		name string
		o    openingFrame
		in   bool
	}{
		{"raft, right", openingFrame{kind: kindRaft, cluster: "c1", target: "b"}, true},
		{"raft, another cluster", openingFrame{kind: kindRaft, cluster: "c2", target: "b"}, false},
		{"raft, the node that was here before", openingFrame{kind: kindRaft, cluster: "c1", target: "b-old"}, false},
		{"raft, no cluster", openingFrame{kind: kindRaft, target: "b"}, false},
		{"raft, no target", openingFrame{kind: kindRaft, cluster: "c1"}, false},
		{"peer, right", openingFrame{kind: kindPeer, cluster: "c1", target: "b"}, true},
		{"peer, stranger", openingFrame{kind: kindPeer}, true},
		{"peer, another cluster", openingFrame{kind: kindPeer, cluster: "c2"}, false},
		{"peer, the node that was here before", openingFrame{kind: kindPeer, cluster: "c1", target: "b-old"}, false},
		{"no such kind", openingFrame{kind: 9, cluster: "c1", target: "b"}, false},
	} {
		c, err := a.dialNode(t.Context(), b.address, test.o)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = io.ReadFull(c, make([]byte, 1))
		c.Close()
		if in := err == nil; in != test.in {
			t.Errorf("%s: let in %v (%v), want %v", test.name, in, err, test.in)
		}
	}
}

// A nonce is answered only to who named cluster and node: anybody else may mean another node.
func TestAStrangerGetsNoNonce(t *testing.T) {
	c := DefaultConfig()
	c.Memory, c.Bind = true, "127.0.0.1:0"
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	<-n.Ready()
	if _, err := n.answerQuestion(questionNonce, make([]byte, 8), false); !errors.Is(err, errWireFormat) {
		t.Errorf("a stranger's nonce: %v, want a closed connection", err)
	}
	if answer, err := n.answerQuestion(questionNonce, make([]byte, 8), true); err != nil || len(answer) != 24 {
		t.Errorf("a peer's nonce: %d bytes, %v, want 24", len(answer), err)
	}
	if _, err := (&Node{}).answerQuestion(questionNonce, make([]byte, 8), true); !errors.Is(err, errWireFormat) {
		t.Errorf("a nonce while no raft runs: %v, want a closed connection", err)
	}
}

func TestASlowOpeningHoldsUpNobody(t *testing.T) {
	b := loopback(t, "b", "c1")
	a := loopback(t, "a", "c1")
	for range maxOpeningConns / 2 {
		c, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	begin := time.Now()
	c, err := a.dialNode(t.Context(), b.address, openingFrame{kind: kindRaft, cluster: "c1", target: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil || time.Since(begin) > openTimeout/2 {
		t.Errorf("let in after %v beside silent connections: %v", time.Since(begin), err)
	}
}

func TestASenderThatVanishesInMidMessageIsGivenUp(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	limits := &deadlines{Conn: ours}
	c := &raftConn{Conn: limits, incoming: true, onClose: func(*raftConn) {}}
	go theirs.Write([]byte("half of a message"))
	if _, err := c.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if !limits.read.IsZero() {
		t.Error("an idle connection has a deadline: raft's pool would lose it")
	}
	if _, err := c.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(limits.read); left <= 0 || left > progressLimit {
		t.Errorf("in mid-message the deadline is %v away, want %v", left, progressLimit)
	}
}

type deadlines struct {
	net.Conn
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = t
	return d.Conn.SetReadDeadline(t)
}

func TestOutcomes(t *testing.T) {
	n := &Node{}
	for _, test := range []struct {
		err     error
		refused bool
	}{
		{raft.ErrNotLeader, true},
		{raft.ErrLeadershipTransferInProgress, true},
		{raft.ErrEnqueueTimeout, true},
		{raft.ErrLeadershipLost, false},
		{raft.ErrRaftShutdown, false},
		{raft.ErrAbortedByRestore, false},
		{errors.New("disk full"), false},
		{context.DeadlineExceeded, false},
		{ErrClosed, false},
		{ErrBusy, false},
	} {
		err := n.classifyProposeError(test.err)
		if got := isRefusal(err); got != test.refused || errors.Is(err, ErrUnknown) == test.refused {
			t.Errorf("%v became %v, refused %v, want %v", test.err, err, got, test.refused)
		}
	}
}

// Every error of the log store but "not found" reaches stop before it reaches raft.
func TestABrokenLogStopsTheNode(t *testing.T) {
	var told []error
	broken := &brokenStore{InmemStore: raft.NewInmemStore()}
	g := &guardedLog{LogStore: broken, onFault: func(err error) { told = append(told, err) }}
	for i := range uint64(1000) {
		if err := g.StoreLog(&raft.Log{Index: i + 1, Data: []byte("12345")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.GetLog(2000, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) || len(told) > 0 {
		t.Errorf("not found: %v, told %v", err, told)
	}
	if got := g.writtenBytes.Load(); got != 5000 {
		t.Errorf("%d bytes written, want 5000", got)
	}
	broken.err = errors.New("disk is gone")
	g.StoreLogs(nil)
	g.GetLog(1, &raft.Log{})
	g.DeleteRange(1, 1000)
	if len(told) != 3 || !errors.Is(told[0], ErrFailed) {
		t.Errorf("stopped by %v, want three failures", told)
	}
}

type brokenStore struct {
	*raft.InmemStore
	err error
}

func (b *brokenStore) StoreLogs(logs []*raft.Log) error {
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.StoreLogs(logs)
}

func (b *brokenStore) GetLog(i uint64, l *raft.Log) error {
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.GetLog(i, l)
}

func (b *brokenStore) DeleteRange(first, last uint64) error {
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.DeleteRange(first, last)
}

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.Level, c.Bind, c.LeaderLease, c.SnapshotBytes = 0, "nowhere", time.Second, 0
	joined, ok := c.Validate().(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 5 {
		t.Errorf("faults: %v, want level, folder, bind, lease and snapshot bytes", c.Validate())
	}
}
