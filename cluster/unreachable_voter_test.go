package cluster_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

func hasAlarm(n *cluster.Node, code cluster.AlarmCode) (text string, stands bool) {
	for _, a := range n.Status().Alarms {
		if a.Code == code {
			return a.Text, true
		}
	}
	return "", false
}

// The leader alone says that a voter does not answer, once raft has not reached it for ten seconds, and what the cluster bears.
func TestALeaderSaysThatAVoterIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		cut, other := (leader+1)%3, (leader+2)%3
		n, id := c.Nodes[leader], c.Nodes[cut].ID()
		time.Sleep(5 * time.Second)
		c.Network.Isolate(clustertest.Name(cut), "n0", "n1", "n2")
		time.Sleep(9 * time.Second)
		if text, stands := hasAlarm(n, cluster.AlarmQuorumAtRisk); stands {
			t.Fatalf("after nine seconds: %s", text)
		}
		time.Sleep(4 * time.Second)
		text, stands := hasAlarm(n, cluster.AlarmQuorumAtRisk)
		if want := "2 of 3 voters answer: the cluster bears no further failure; bring node " + id; !stands || !strings.HasPrefix(text, want) {
			t.Errorf("after 13 seconds: %q, want %q; it is %s, of term %d", text, want, n.Status().State, n.Status().Term)
		}
		if text, stands := hasAlarm(c.Nodes[other], cluster.AlarmQuorumAtRisk); stands {
			t.Errorf("a follower says %s", text)
		}
		c.Network.HealAll()
		c.Until("the alarm to go", func() bool { _, stands := hasAlarm(c.Nodes[c.Leader()], cluster.AlarmQuorumAtRisk); return !stands })
	})
}

// A learner replaces the voter that has not answered for five minutes, and joins beside one that has been away for less.
func TestALearnerReplacesAVoterThatIsAwayForLong(t *testing.T) {
	for _, test := range []struct {
		name       string
		away       time.Duration // of the voter, before the learner starts
		newLeader  time.Duration // before the learner starts, the lead changes; 0: it does not
		wantVoters int
	}{
		{"for long", 6 * time.Minute, 0, 3},
		{"for less", 4 * time.Minute, 0, 4},
		{"for long, and the leader is new", 6 * time.Minute, 2 * time.Minute, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, 3, nil)
				c.Ready()
				leader := c.Leader()
				gone, other := (leader+1)%3, (leader+2)%3
				goneID := c.Nodes[gone].ID()
				s := register(t, c.Nodes[leader], "gs")
				mustSet(t, c.Nodes[leader], s, "k", "v")
				c.Kill(gone)
				time.Sleep(test.away - test.newLeader)
				if test.newLeader > 0 {
					if err := c.Nodes[leader].TransferTo(t.Context(), c.Nodes[other]); err != nil {
						t.Fatal(err)
					}
					leader = c.Leader(other)
					time.Sleep(test.newLeader)
				}
				n := c.Nodes[leader]
				expect(t, n, "n3:7401")
				joiner := c.Nodes[c.Add([]string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}, nil)]
				c.Until("the new node to vote", func() bool { return slices.Contains(voters(n), joiner.ID()) })
				ids := voters(n)
				if replaced := !slices.Contains(ids, goneID); len(ids) != test.wantVoters || replaced != (test.wantVoters == 3) {
					t.Errorf("voters %v, and %s was lost: want %d", ids, goneID, test.wantVoters)
				}
				if test.wantVoters == 3 {
					c.Until("the audit to say that the node was removed", func() bool { return auditSays(t, n, fsm.AuditRemoveNode, goneID) })
				}
				c.Kill(c.Leader()) // of three, or of four with one lost
				if test.wantVoters == 3 {
					next := c.Nodes[c.Leader()]
					mustSet(t, next, register(t, next, "later"), "q", "w")
				}
			})
		})
	}
}

func auditSays(t *testing.T, n *cluster.Node, kind fsm.AuditKind, what string) bool {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	list, _, err := view.Audit(fsm.AuditFilter{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(a fsm.Audit) bool { return a.Kind == kind && strings.Contains(a.Reason, what) })
}
