package wire

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/memnet"
)

const (
	period     = time.Second
	answerTime = period + period/4                // before it is doubled
	pauses     = pauseMost + 100*time.Millisecond // from the end of one stream to the next
	atOnce     = 10 * time.Millisecond
)

type liveServer = profilev1.Profiles_LiveServer

// liveScript is the behaviour of all nodes. The number counts streams, from 0.
type liveScript func(number int, s liveServer) error

// renewalRun is a RenewUntilOver with nodes n1, n2 and n3.
type renewalRun struct {
	script         liveScript
	mu             sync.Mutex
	streams        []renewalStream
	open, mostOpen int    // streams, now and at a time
	answered       []bool // whether each answer was confirmed
}

// renewalStream is one stream, as its node sees it.
type renewalStream struct {
	address       string
	opened, ended time.Time // ended is zero: it is open
}

type renewalNode struct {
	profilev1.UnimplementedProfilesServer
	address string
	run     *renewalRun
}

func (n *renewalNode) Live(s liveServer) error {
	r := n.run
	r.mu.Lock()
	number := len(r.streams)
	r.streams = append(r.streams, renewalStream{address: n.address, opened: time.Now()})
	r.open++
	r.mostOpen = max(r.mostOpen, r.open)
	r.mu.Unlock()
	err := r.script(number, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[number].ended = time.Now()
	r.open--
	return err
}

// renewFor renews for so long in virtual time, and returns the streams until then. Then it ends the incarnation, and checks
// that renewing ends at once, with all streams, also those that are kept though they are silent.
func renewFor(t *testing.T, d time.Duration, script liveScript) (r *renewalRun, until []renewalStream) {
	t.Helper()
	r = &renewalRun{script: script}
	synctest.Test(t, func(t *testing.T) {
		network, seeds := memnet.New(), []string{"n1:7400", "n2:7400", "n3:7400"}
		for _, address := range seeds {
			listener, err := network.Host(address[:2]).Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			profilev1.RegisterProfilesServer(server, &renewalNode{address: address, run: r})
			go func() { _ = server.Serve(listener) }()
			defer server.Stop()
		}
		nodes := NewNodes(NodesConfig{Seeds: seeds, LinkConfig: LinkConfig{Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return network.Host("game").Dial(ctx, "tcp", address)
		}}})
		defer nodes.Close()
		over, sequence := make(chan struct{}), uint64(0)
		renewals := &Renewals{
			Nodes: nodes, Every: period, Over: over,
			Next: func() *profilev1.Renewal { sequence++; return &profilev1.Renewal{Sequence: sequence} },
			Answered: func(_ *profilev1.Renewed, _ time.Time, confirmed bool) bool {
				r.answered = append(r.answered, confirmed)
				return false
			},
			Ended: func(a Attempt, _ time.Time) bool {
				return isClosed(over) || a.Refusal.GetReason() == profilev1.Reason_REASON_SERVER_GONE
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			renewals.RenewUntilOver(ctx)
		}()
		defer func() { cancel(); <-done }()
		time.Sleep(d)
		synctest.Wait()
		until = slices.Clone(r.streams)
		close(over)
		synctest.Wait()
		if !isClosed(done) || r.open > 0 {
			t.Errorf("after the incarnation's end it has ended: %v, and %d streams are open", isClosed(done), r.open)
		}
	})
	return r, until
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// answerRenewals answers so many renewals, or all with -1; term 0: without a confirmation.
func answerRenewals(s liveServer, count int, term uint64) error {
	for ; count != 0; count-- {
		renewal, err := s.Recv()
		if err != nil {
			return err
		}
		answer := &profilev1.Renewed{Sequence: renewal.GetSequence(), ConfirmedTerm: term}
		if err := s.Send(&profilev1.Event{What: &profilev1.Event_Renewed{Renewed: answer}}); err != nil {
			return err
		}
	}
	return nil
}

func stayMute(_ int, s liveServer) error {
	<-s.Context().Done()
	return nil
}

func sayGoodbye(s liveServer, end *profilev1.StreamEnd) error {
	return s.Send(&profilev1.Event{What: &profilev1.Event_StreamEnd{StreamEnd: end}})
}

func TestRenewalsGoToTheLeaderThatANodeNames(t *testing.T) {
	refusal := &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: "n3:7400"}
	refused, _ := status.New(codes.FailedPrecondition, "").WithDetails(refusal) // of any code but OK it never fails
	for name, first := range map[string]func(liveServer) error{
		"a refusal": func(liveServer) error { return refused.Err() },
		"a goodbye": func(s liveServer) error { return sayGoodbye(s, &profilev1.StreamEnd{Leader: "n3:7400"}) },
	} {
		_, all := renewFor(t, 10*period, func(number int, s liveServer) error {
			if number == 0 {
				return first(s)
			}
			return answerRenewals(s, -1, 1)
		})
		if len(all) != 2 || all[1].address != "n3:7400" || all[1].opened.Sub(all[0].opened) > atOnce {
			t.Errorf("%s: its streams are %+v, want one to n1 and then, at once, one to n3", name, all)
		}
	}
}

// The end of its last stream would look to a slow leader like the end of the process.
func TestASilentStreamStaysOpenUntilAnotherRenews(t *testing.T) {
	var renewed time.Time
	_, all := renewFor(t, 10*period, func(number int, s liveServer) error {
		if number == 0 {
			return stayMute(number, s)
		}
		if err := answerRenewals(s, 2, 0); err != nil {
			return err
		}
		renewed = time.Now()
		return answerRenewals(s, -1, 1)
	})
	if len(all) != 2 || all[1].address == all[0].address || !all[1].ended.IsZero() {
		t.Fatalf("its streams are %+v, want a silent one and one to another node", all)
	}
	if all[0].ended.Before(renewed) || all[0].ended.Sub(renewed) > period+atOnce {
		t.Errorf("the silent one ended at %v, want it just after the second renewed, about %v", all[0].ended, renewed)
	}
}

func TestTheTimeForAnAnswerDoublesAtMostTwiceAndFewMuteStreamsAreKept(t *testing.T) {
	r, all := renewFor(t, time.Minute, stayMute)
	for i, doublings := range []int{0, 1, 2, 2, 2, 2, 2} {
		want := answerTime << doublings
		if wait := all[i+1].opened.Sub(all[i].opened); wait < want || wait > want+pauses {
			t.Errorf("stream %d was given up after %v, want about %v", i+1, wait, want)
		}
	}
	if want := maxMutes + 1; r.mostOpen != want {
		t.Errorf("%d streams were open at a time, want %d: the mute ones that are kept, and the last", r.mostOpen, want)
	}
}

func TestAnUnconfirmedAnswerDoesNotRenew(t *testing.T) {
	r, all := renewFor(t, 4*period, func(_ int, s liveServer) error { return answerRenewals(s, -1, 0) })
	if len(r.answered) == 0 || slices.Contains(r.answered, true) {
		t.Errorf("answers were told as confirmed or not: %v, want some, and none confirmed", r.answered)
	}
	if len(all) < 2 || all[1].opened.Sub(all[0].opened) > answerTime+pauses {
		t.Errorf("its streams are %+v, want another one after %v", all, answerTime)
	}
}

// All game servers learn of a new leader at once. One that only lost its stream must not wait.
func TestRenewalsWaitBeforeTheyGoToAChangedLeader(t *testing.T) {
	wait := func(leader string) time.Duration {
		_, all := renewFor(t, 10*period, func(number int, s liveServer) error {
			if number > 0 {
				return answerRenewals(s, -1, 1)
			}
			if err := answerRenewals(s, 3, 1); err != nil {
				return err
			}
			return sayGoodbye(s, &profilev1.StreamEnd{Leader: leader})
		})
		if len(all) != 2 || all[1].address != leader {
			t.Fatalf("its streams are %+v, want a second one to %s", all, leader)
		}
		return all[1].opened.Sub(all[0].ended)
	}
	most := time.Duration(0)
	for range 20 { // the waits are drawn
		most = max(most, wait("n2:7400"))
	}
	if most < period/20 || most > period/2+atOnce || wait("n1:7400") > atOnce {
		t.Errorf("of 20 waits the longest is %v, want up to %v, and none before the leader that it had", most, period/2)
	}
}

// That Over ends it, every other test shows.
func TestRenewalsEndWhenEndedSaysSo(t *testing.T) {
	_, all := renewFor(t, 10*period, func(_ int, s liveServer) error { return sayGoodbye(s, &profilev1.StreamEnd{ServerGone: true}) })
	if len(all) != 1 {
		t.Errorf("its streams are %+v, want no other after a node said that the incarnation is gone", all)
	}
}
