package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// What raft answers to a verdict decides whether the judged may renew while this lead is still on.
func TestAVerdictOfUnknownOutcomeHoldsRenewalsBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		holds bool
	}{
		{"unknown", fmt.Errorf("propose: %w: leadership lost while committing log", ErrUnknown), true},
		{"refused", &NotLeaderError{}, false},
		{"applied", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				n := &Node{config: DefaultConfig(), closing: make(chan struct{})}
				n.config.Metrics = noMetrics{}
				n.ctx, n.cancel = ctx, cancel
				l := &leaderState{node: n, term: 5, ctx: ctx}
				l.queue, l.detector = newProposeQueue(l), newFailureDetector(l)
				const judged = lock.Incarnation(7)
				l.detector.openExpiries[judged] = make(chan struct{})

				done := make(chan struct{})
				go func() {
					defer close(done)
					l.detector.proposeExpiries([]*fsm.Verdict{{Incarnation: uint64(judged)}})
				}()
				answer(l.queue, test.err)
				if test.err == nil { // and its waiters are walked
					answer(l.queue, test.err)
				}
				<-done

				brief, give := context.WithTimeout(ctx, 3*time.Second)
				defer give()
				err := l.detector.noteRenewal(brief, judged, time.Now())
				if held := errors.Is(err, ErrUnconfirmed); held != test.holds {
					t.Errorf("a renewal after the verdict: %v, want it held back: %v", err, test.holds)
				}
			})
		})
	}
}

// answer gives the next entry of a queue that no raft serves its outcome.
func answer(q *proposeQueue, err error) {
	<-q.wake
	q.entrySlots <- struct{}{}
	batch := q.takeBatch()
	q.replyAll(&entryInFlight{proposals: batch}, make([]fsm.Result, len(batch)), err)
}
