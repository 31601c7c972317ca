package wire

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// scriptedNode answers Send with one error after the other, and then with success.
type scriptedNode struct {
	profilev1.UnimplementedProfilesServer

	mu      sync.Mutex
	answers []error
	sends   []*profilev1.SendRequest
	settles []*profilev1.SettleRequest
}

func (n *scriptedNode) Register(context.Context, *profilev1.RegisterRequest) (*profilev1.RegisterResponse, error) {
	return &profilev1.RegisterResponse{Incarnation: 77, Binding: 5}, nil
}

func (n *scriptedNode) Send(_ context.Context, request *profilev1.SendRequest) (*profilev1.SendResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sends = append(n.sends, proto.CloneOf(request))
	if len(n.answers) == 0 {
		return &profilev1.SendResponse{Id: 9}, nil
	}
	err := n.answers[0]
	n.answers = n.answers[1:]
	return nil, err
}

func (n *scriptedNode) Settle(_ context.Context, request *profilev1.SettleRequest) (*profilev1.SettleResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settles = append(n.settles, request)
	return &profilev1.SettleResponse{Reason: profilev1.Reason_REASON_GIVEN_UP}, nil
}

func refusal(t *testing.T, r *profilev1.Refusal) error {
	t.Helper()
	s, err := status.New(codes.Unavailable, "refused").WithDetails(r)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// scriptNodes connects to nodes by their names; nothing listens under another name, and "forbidden" may not be asked.
func scriptNodes(t *testing.T, nodes map[string]*scriptedNode, config NodesConfig) *Nodes {
	t.Helper()
	listeners := make(map[string]*bufconn.Listener)
	for name, node := range nodes {
		server, listener := grpc.NewServer(), bufconn.Listen(1<<16)
		profilev1.RegisterProfilesServer(server, node)
		listeners[name] = listener
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
	}
	config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		if listener := listeners[address]; listener != nil {
			return listener.DialContext(ctx)
		}
		return nil, errors.New("nothing listens there")
	}
	config.Permit = func(address string) error {
		if address == "forbidden" {
			return errors.New("it is forbidden")
		}
		return nil
	}
	n := NewNodes(config)
	t.Cleanup(n.Close)
	return n
}

func callSend(t *testing.T, n *Nodes) (*profilev1.SendResponse, error) {
	t.Helper()
	answer := &profilev1.SendResponse{}
	err := n.Call(t.Context(), profilev1.Profiles_Send_FullMethodName, &profilev1.SendRequest{Store: "players", Key: "ann"}, answer)
	return answer, err
}

func TestCallFollowsTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		follower, leader := &scriptedNode{}, &scriptedNode{}
		for _, to := range []string{"forbidden", "down", "leader"} {
			follower.answers = append(follower.answers, refusal(t, &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: to}))
		}
		var failures []Attempt
		forbidden := ""
		n := scriptNodes(t, map[string]*scriptedNode{"follower": follower, "leader": leader}, NodesConfig{
			Seeds:             []string{"follower"},
			OnForbiddenLeader: func(address string, _ error) { forbidden = address },
			OnFailure: func(_ context.Context, a Attempt) bool {
				failures = append(failures, a)
				return false
			},
		})
		if answer, err := callSend(t, n); err != nil || answer.Id != 9 {
			t.Fatalf("got %v, %v, want the leader's answer", answer, err)
		}
		var asked []string
		for _, a := range failures {
			asked = append(asked, a.Address)
		}
		if want := []string{"follower", "follower", "down", "follower"}; !slices.Equal(asked, want) {
			t.Fatalf("got failures of %v, want %v", asked, want)
		}
		if forbidden != "forbidden" || failures[2].Sent || failures[2].Unsent != 1 || failures[3].Unsent != 0 {
			t.Errorf("got failures %+v", failures)
		}
		if n.Leader() != "leader" {
			t.Errorf("got leader %q", n.Leader())
		}
	})
}

func TestCallSaysNoMoreThanIsKnown(t *testing.T) {
	lost := status.Error(codes.Unavailable, "the connection was lost")
	busy := refusal(t, &profilev1.Refusal{Reason: profilev1.Reason_REASON_BUSY})
	byOneCopy := refusal(t, &profilev1.Refusal{Reason: profilev1.Reason_REASON_FENCED})
	byTheLog := refusal(t, &profilev1.Refusal{Reason: profilev1.Reason_REASON_FENCED, Index: 12})
	for name, test := range map[string]struct {
		answers []error
		want    Fate
	}{
		"refused":                       {[]error{busy, byOneCopy}, Refused},
		"refused after a lost copy":     {[]error{lost, byOneCopy}, MayHaveHappened},
		"refused by the log after that": {[]error{lost, busy, byTheLog}, Refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := scriptNodes(t, map[string]*scriptedNode{"node": {answers: test.answers}}, NodesConfig{Seeds: []string{"node"}})
				_, err := callSend(t, n)
				var failed *CallError
				if !errors.As(err, &failed) || failed.Fate != test.want || !failed.Last.IsFinal() {
					t.Errorf("got %+v, want fate %d by a final refusal", err, test.want)
				}
			})
		})
	}
}

func TestAChangeKeepsItsNumberUntilItsOutcomeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &scriptedNode{}
		giveUp := false
		n := scriptNodes(t, map[string]*scriptedNode{"node": node}, NodesConfig{
			Seeds: []string{"node"}, OnFailure: func(context.Context, Attempt) bool { return giveUp },
		})
		r, _, err := n.Register(t.Context(), &profilev1.RegisterRequest{Name: "tool"})
		if err != nil {
			t.Fatal(err)
		}
		change := func() (*profilev1.SendRequest, error) {
			request := &profilev1.SendRequest{Store: "players", Key: "ann"}
			return request, r.Change(t.Context(), profilev1.Profiles_Send_FullMethodName, request, &profilev1.SendResponse{})
		}
		lost := status.Error(codes.Unavailable, "the connection was lost")
		node.answers = []error{lost, lost}
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
		for _, sent := range node.sends {
			if got := sent.GetRequest(); !proto.Equal(got, node.sends[0].GetRequest()) || got.GetIncarnation() != 77 || got.GetBinding() != 5 || got.GetNumber() != 1 {
				t.Errorf("got %v, want the same header each time", got)
			}
		}
		node.answers, giveUp = []error{lost}, true
		request, err := change()
		if err == nil || r.Numbers.SettledMark() != 1 {
			t.Fatalf("got %v and settled mark %d, want an error and 1", err, r.Numbers.SettledMark())
		}
		if got, err := r.Settle(t.Context(), request); err != nil || got.GetReason() != profilev1.Reason_REASON_GIVEN_UP || r.Numbers.SettledMark() != 2 {
			t.Errorf("got %v, %v and settled mark %d", got, err, r.Numbers.SettledMark())
		}
		if len(node.settles) != 1 || node.settles[0].GetRequest().GetNumber() != 2 {
			t.Errorf("got settlements %v, want one of number 2", node.settles)
		}
	})
}
