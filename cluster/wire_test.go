package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

func TestOutcomes(t *testing.T) {
	n := &Node{}
	n.leadership = newLeadership(n)
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
		err := n.leadership.classifyProposeError(test.err)
		if got := isRefusal(err); got != test.refused || errors.Is(err, ErrUnknown) == test.refused {
			t.Errorf("%v became %v, refused %v, want %v", test.err, err, got, test.refused)
		}
	}
}

// A node whose raft does not run answers no nonce: the state on its disk may be older than a vote.
func TestANodeWithoutRaftAnswersNoNonce(t *testing.T) {
	c := DefaultConfig()
	c.Memory, c.Bind = true, "127.0.0.1:0"
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	<-n.Ready()
	if answer, err := n.membership.answerNonce(); err != nil || answer.Term == 0 {
		t.Errorf("a nonce: term %d, %v, want a term", answer.Term, err)
	}
	if _, err := (&membership{node: &Node{}}).answerNonce(); !errors.Is(err, peerwire.ErrNoAnswer) {
		t.Errorf("a nonce while no raft runs: %v, want a closed connection", err)
	}
}

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.Level, c.Bind, c.LeaderLease, c.SnapshotBytes = 0, "nowhere", time.Second, 0
	joined, ok := c.Validate().(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 5 {
		t.Errorf("faults: %v, want level, folder, bind, lease and snapshot bytes", c.Validate())
	}
}
