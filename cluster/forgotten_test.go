package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
)

// mute is a future that is never answered.
type mute struct{ raft.Future }

func (mute) Error() error { select {} }

func TestNobodyWaitsForWhatRaftForgets(t *testing.T) {
	n := &Node{config: DefaultConfig(), lifecycle: newLifecycle(nil, func() {})}
	l := &leaderState{node: n, ctx: n.lifecycle.running}
	q := newProposeQueue(l)
	awaited, proposed := make(chan error, 1), make(chan error, 1)
	go func() { awaited <- n.lifecycle.waitForFuture(context.Background(), mute{}) }()
	go func() {
		_, err := q.proposeAndWait(context.Background(), fsm.NewCommand(nil, &fsm.OpenTerm{}))
		proposed <- err
	}()
	<-q.wake
	if got := len(q.waiting.TakeBatch()); got != 1 {
		t.Fatalf("%d proposals on their way, want 1", got)
	}
	n.lifecycle.endRunning()
	const patience = 10 * time.Second
	for what, outcome := range map[string]chan error{"a wait": awaited, "a proposal": proposed} {
		select {
		case err := <-outcome:
			if !errors.Is(err, errStopping) && !errors.Is(err, ErrUnknown) {
				t.Errorf("%s ended with %v, which says that nothing happened", what, err)
			}
		case <-time.After(patience):
			t.Errorf("%s goes on after the node's end", what)
		}
	}
}

// A stop gives raft time for its answers, and no more than that.
func TestAStopWaitsOnlyAWhileForRaftsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newLifecycle(nil, func() {})
		never := make(chan struct{})
		c.goFuture(func() { <-never })
		time.AfterFunc(time.Minute, func() { close(never) })
		began := time.Now()
		c.drainFutures()
		if passed := time.Since(began); passed > drainLimit+drainPeriod {
			t.Errorf("it waited for %v", passed)
		}
		<-never
	})
}
