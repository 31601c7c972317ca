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

// slowPeer applies one entry at a time, and slowly.
type slowPeer struct {
	*peer
	began chan struct{}
	goOn  chan struct{}
}

func (p slowPeer) Apply(l *raft.Log) any {
	select {
	case p.began <- struct{}{}:
	default:
	}
	<-p.goOn
	return nil
}

// What was committed and waits to be applied when raft goes down is answered to nobody. A wait for it must end by itself.
func TestRaftAloneForgetsToAnswerWhenItGoesDown(t *testing.T) {
	for range 20 { // the goroutine that applies chooses at random between its next work and its end
		log := raft.NewInmemStore()
		p := slowPeer{newPeer(t, "a", 1, log), make(chan struct{}, 1), make(chan struct{})}
		mustStore(t, log, configured(1, servers("a")))
		p.startWith(p)
		for p.raft.State() != raft.Leader {
			time.Sleep(time.Millisecond)
		}
		var answers []chan error
		for range 20 {
			f, answer := p.raft.Apply([]byte("x"), 0), make(chan error, 1)
			answers = append(answers, answer)
			go func() { answer <- f.Error() }()
			if len(answers) == 1 {
				<-p.began
			}
		}
		down := p.raft.Shutdown()
		close(p.goOn)
		if err := down.Error(); err != nil {
			t.Fatal(err)
		}
		for _, answer := range answers {
			select {
			case <-answer:
			case <-time.After(100 * time.Millisecond): // raft's goroutines have all ended: nobody is left to answer
				return
			}
		}
	}
	t.Error("raft answered everything: the cure is not needed any more")
}

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
	if got := len(q.takeBatch()); got != 1 {
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
