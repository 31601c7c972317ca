package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// scripted is a node that says what it is told to.
type scripted struct {
	pb.UnimplementedProfilesServer
	address string

	mu      sync.Mutex
	leader  string      // refuse everything in favour of this one
	refuse  []pb.Reason // to the next Sends; the last one again and again
	goodbye int
	settles *pb.SettleResponse // nil: refused as unknown
	sends   []*pb.SendRequest
}

func script(t *testing.T) *scripted {
	t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{address: port.Addr().String()}
	g := grpc.NewServer()
	pb.RegisterProfilesServer(g, s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(port) }()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
	return s
}

func refusal(t pb.Reason, leader string) error {
	s, err := status.New(codes.Unavailable, "refused: "+t.String()).WithDetails(&pb.Refusal{Reason: t, Leader: leader, Index: indexOf(t)})
	if err != nil {
		return err
	}
	return s.Err()
}

// indexOf is the entry that a refusal by the rules came out of, 0 for one of a single copy.
func indexOf(reason pb.Reason) uint64 {
	if wire.MeaningOf(reason).Fate == wire.Refused {
		return 9
	}
	return 0
}

func (s *scripted) elsewhere() error {
	if s.leader == "" {
		return nil
	}
	return refusal(pb.Reason_REASON_NOT_LEADER, s.leader)
}

func (s *scripted) Register(context.Context, *pb.RegisterRequest) (*pb.RegisterResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.RegisterResponse{Incarnation: 77}, s.elsewhere()
}

func (s *scripted) EndServer(context.Context, *pb.EndServerRequest) (*pb.EndServerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goodbye++
	return &pb.EndServerResponse{}, s.elsewhere()
}

func (s *scripted) Settle(context.Context, *pb.SettleRequest) (*pb.SettleResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settles == nil {
		return nil, refusal(pb.Reason_REASON_BUSY, "")
	}
	return s.settles, nil
}

func (s *scripted) Send(_ context.Context, request *pb.SendRequest) (*pb.SendResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends = append(s.sends, request)
	if err := s.elsewhere(); err != nil {
		return nil, err
	}
	if len(s.refuse) > 0 {
		reason := s.refuse[0]
		if len(s.refuse) > 1 {
			s.refuse = s.refuse[1:]
		}
		if reason != pb.Reason_REASON_UNSPECIFIED {
			return nil, refusal(reason, "")
		}
	}
	return &pb.SendResponse{Id: 5}, nil
}

// send sends a message through the command line.
func send(t *testing.T, nodes ...*scripted) asked {
	t.Helper()
	var addresses []string
	for _, node := range nodes {
		addresses = append(addresses, node.address)
	}
	return (&served{clients: strings.Join(addresses, ",")}).ask(t, "", "send", "store", "key", "{}", "--timeout", "700ms")
}

func TestGoesToTheLeaderWithTheSameRequest(t *testing.T) {
	follower, leader := script(t), script(t)
	follower.leader = leader.address
	leader.refuse = []pb.Reason{pb.Reason_REASON_UNKNOWN, pb.Reason_REASON_BUSY, pb.Reason_REASON_UNCONFIRMED, pb.Reason_REASON_UNSPECIFIED}
	send(t, follower).want(t, exitOK, "message 5")

	sends := append(follower.sends, leader.sends...)
	if len(leader.sends) != 4 {
		t.Errorf("the leader was asked %d times, want 4", len(leader.sends))
	}
	for _, sent := range sends {
		got, want := sent.GetRequest(), sends[0].GetRequest()
		if got.String() != want.String() || got.GetIncarnation() != 77 || got.GetNumber() != 1 || got.GetHash() == 0 {
			t.Errorf("got request %v, want %v every time", got, want)
		}
	}
	if leader.goodbye != 1 {
		t.Errorf("said goodbye %d times, want once", leader.goodbye)
	}
}

// Two nodes that name each other are asked again and again, with pauses, and not without end.
func TestNobodyLeads(t *testing.T) {
	a, b := script(t), script(t)
	a.leader, b.leader = b.address, a.address
	began := time.Now()
	got := send(t, a, b)
	got.want(t, exitFailed, "profilenode: no node could answer in time", "profilenode:   "+a.address+": refused: REASON_NOT_LEADER", b.address+": refused: REASON_NOT_LEADER")
	if strings.Contains(got.errs, "may have happened") {
		t.Errorf("every copy was refused, and yet: %s", got.errs)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

// When a copy went unanswered, refusals of later ones do not say that nothing happened.
func TestUnsureIsSaid(t *testing.T) {
	node := script(t)
	for _, last := range []pb.Reason{
		pb.Reason_REASON_BUSY, pb.Reason_REASON_NO_SPACE, pb.Reason_REASON_FAILED, pb.Reason_REASON_PARTS_MISSING,
		pb.Reason_REASON_ACKNOWLEDGE_FIRST, pb.Reason_REASON_OTHER_CLUSTER, pb.Reason_REASON_UNAUTHORIZED, 9999,
	} {
		node.refuse = []pb.Reason{pb.Reason_REASON_UNKNOWN, last}
		send(t, node).want(t, exitFailed, "it may have happened: look before you try again")
	}

	node.refuse = []pb.Reason{pb.Reason_REASON_BUSY}
	if got := send(t, node); strings.Contains(got.errs, "may have happened") {
		t.Errorf("every copy was refused, and yet: %s", got.errs)
	}
	node.refuse = []pb.Reason{pb.Reason_REASON_UNKNOWN, pb.Reason_REASON_INBOX_FULL}
	if got := send(t, node); strings.Contains(got.errs, "may have happened") {
		t.Errorf("the table of answers said no, and yet: %s", got.errs)
	}
}

// A tool settles its number before it says goodbye, so that it can tell what became of a change whose answer was lost.
func TestALostAnswerIsSettled(t *testing.T) {
	node := script(t)
	node.refuse = []pb.Reason{pb.Reason_REASON_UNKNOWN, pb.Reason_REASON_NO_SPACE}
	node.settles = &pb.SettleResponse{Header: &pb.ReplyHeader{Revision: 3}}
	send(t, node).want(t, exitOK, "sent to store/key")

	node.settles = &pb.SettleResponse{Reason: pb.Reason_REASON_GIVEN_UP}
	node.refuse = []pb.Reason{pb.Reason_REASON_UNKNOWN, pb.Reason_REASON_NO_SPACE}
	send(t, node).want(t, exitFailed, "it did not happen, and will not any more")

	node.settles = &pb.SettleResponse{Reason: pb.Reason_REASON_INBOX_FULL}
	node.refuse = []pb.Reason{pb.Reason_REASON_UNKNOWN, pb.Reason_REASON_NO_SPACE}
	send(t, node).want(t, exitFailed, "it did not happen: the cluster refused it with INBOX_FULL")
}

// What is down says so, and so does what answers without a leader, in whatever order they were asked.
func TestEachNodeThatWasTriedSaysWhatItAnswered(t *testing.T) {
	down := freeAddresses(t, 1)[0]
	follower := script(t)
	follower.leader = down
	for _, nodes := range []string{follower.address + "," + down, down + "," + follower.address} {
		got := (&served{clients: nodes}).ask(t, "", "send", "store", "key", "{}", "--timeout", "700ms")
		got.want(t, exitFailed, down+": connection refused", follower.address+": refused: REASON_NOT_LEADER")
		if strings.Contains(got.errs, "no node answers") || strings.Contains(got.errs, "may have happened") {
			t.Errorf("one node answers, and nothing was sent to the other, and yet: %s", got.errs)
		}
	}
}

func TestLeaderlessSentenceCountsTheVoters(t *testing.T) {
	up := func(voter bool) *nodeStatus {
		return &nodeStatus{member: &pb.Member{Voter: voter}, status: &pb.StatusResponse{}}
	}
	down := &nodeStatus{member: &pb.Member{Voter: true}, err: errors.New("connection refused")}
	for want, found := range map[string][]*nodeStatus{
		"no leader: 2 of 3 nodes are down":                                 {up(true), down, down, up(false)},
		"no leader: 2 of 3 nodes answer, and none of them leads yet":       {up(true), up(true), down},
		"no leader: there is no cluster yet, or no node knows its members": {{err: errors.New("connection refused")}},
	} {
		if got := describeLeaderless(found); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
