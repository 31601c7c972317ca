package peerwire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// loopback is a port that writes one byte on every connection that it accepts, if it is raft's, and answers hellos.
func loopback(t *testing.T, id, cluster string) *Port {
	t.Helper()
	p, err := Listen(Config{
		ID: id, ProcessID: "process of " + id, Bind: "127.0.0.1:0", Listen: net.Listen, Dial: (&net.Dialer{}).DialContext, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	p.SetCluster(cluster)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		p.AcceptConns(someAnswers(id))
	}()
	go func() {
		for {
			select {
			case s := <-p.raftConns:
				s.Write([]byte{1})
				s.Close()
			case <-p.ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		p.Close()
		<-accepted
	})
	return p
}

// someAnswers are those of a node that has a term and takes no node in.
func someAnswers(id string) Answers {
	return Answers{
		Nonce: func() (NonceAnswer, error) { return NonceAnswer{Term: 7, WallMS: 8}, nil },
		Hello: func(q HelloQuestion) Hello { return Hello{ID: id, DigestAt: q.DigestAt, Digest: 9} },
		Join:  func(JoinQuestion) JoinAnswer { return JoinAnswer{Refused: "no"} },
		Reach: func(q ReachQuestion) ReachAnswer { return ReachAnswer{Reached: len(q.Ports)} },
	}
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
		c, err := a.dialNode(t.Context(), b.Advertised(), test.o)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if test.o.kind == kindPeer {
			_, err = exchangeMessages(c, questionHello, []byte("{}"))
		} else {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		c.Close()
		if in := err == nil; in != test.in {
			t.Errorf("%s: let in %v (%v), want %v", test.name, in, err, test.in)
		}
	}
}

// A nonce is answered only on a connection that named cluster and node: any other may have been meant for another node.
func TestAStrangerGetsNoNonce(t *testing.T) {
	a := someAnswers("n")
	if _, err := a.answerQuestion(questionNonce, make([]byte, 8), false); !errors.Is(err, errWireFormat) {
		t.Errorf("a stranger's nonce: %v, want a closed connection", err)
	}
	if answer, err := a.answerQuestion(questionNonce, make([]byte, 8), true); err != nil || len(answer) != 24 {
		t.Errorf("a peer's nonce: %d bytes, %v, want 24", len(answer), err)
	}
}

// A connection is closed after a question that is none; a refusal in words keeps it open.
func TestAConnIsDialedAgainAfterAFailure(t *testing.T) {
	b := loopback(t, "b", "c1")
	a := loopback(t, "a", "c1").ConnTo(b.Advertised(), "b")
	defer a.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if answer, err := a.AskNonce(ctx, 1); err != nil || answer != (NonceAnswer{Term: 7, WallMS: 8}) {
		t.Errorf("a nonce: %+v, %v", answer, err)
	}
	if _, err := a.ask(ctx, 99, nil); err == nil || a.conn != nil {
		t.Errorf("a question of no kind: %v, connection open %v, want an error and a closed one", err, a.conn != nil)
	}
	if h, err := a.AskHello(ctx, HelloQuestion{DigestAt: 3}); err != nil || h.ID != "b" || h.DigestAt != 3 || h.Digest != 9 {
		t.Errorf("a hello after that: %+v, %v", h, err)
	}
	if j, err := a.AskJoin(ctx, JoinQuestion{ID: "x"}); err != nil || j.Refused != "no" || a.conn == nil {
		t.Errorf("a refused join: %+v, %v, connection open %v", j, err, a.conn != nil)
	}
}

func TestASlowOpeningHoldsUpNobody(t *testing.T) {
	b := loopback(t, "b", "c1")
	a := loopback(t, "a", "c1")
	for range maxOpeningConns / 2 {
		c, err := net.Dial("tcp", b.Advertised())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	begin := time.Now()
	c, err := a.dialNode(t.Context(), b.Advertised(), openingFrame{kind: kindRaft, cluster: "c1", target: "b"})
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

// A call of 32 MiB to a follower that takes 256 KiB a second, and then writes it to its disk for a while, is not given up; one to
// a follower that takes nothing is.
func TestALargeCallOverASlowLinkIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &raftConn{Conn: ours, onClose: func(*raftConn) {}}
		defer c.Close()
		const size = 32 << 20
		go func() {
			buffer := make([]byte, writePiece)
			for left := size; left > 0; {
				n, err := theirs.Read(buffer)
				if err != nil {
					t.Error(err)
					return
				}
				left -= n
				time.Sleep(time.Duration(n) * time.Second / slowestBytes)
			}
			time.Sleep(rpcTimeout / 2)
			theirs.Write([]byte("done"))
		}()
		c.SetDeadline(time.Now().Add(rpcTimeout))
		if n, err := c.Write(make([]byte, size)); err != nil || n != size {
			t.Fatalf("wrote %d bytes of %d: %v", n, size, err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatalf("read the answer: %v", err)
		}

		began := time.Now()
		c.SetDeadline(began.Add(rpcTimeout))
		if _, err := c.Write(make([]byte, writePiece)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > progressLimit {
			t.Errorf("a write to a follower that reads nothing ended after %v: %v", time.Since(began), err)
		}
	})
}
