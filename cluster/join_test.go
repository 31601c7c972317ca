package cluster

import (
	"context"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// A member that has moved says so at the addresses of its peers. One of them may be another cluster's by now.
func TestAMovedMemberOfAnotherClusterIsNotTakenIn(t *testing.T) {
	c := DefaultConfig()
	c.Memory, c.Bind = true, "127.0.0.1:0"
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	<-n.Ready()
	j := n.membership.answerJoin(peerwire.JoinQuestion{ID: "stranger", Address: "127.0.0.1:1", Level: 1, Cluster: "beef"})
	if j.Cluster != "" || !strings.Contains(j.Refused, "is of cluster beef") {
		t.Errorf("the answer was %+v, want a refusal that names the cluster", j)
	}
	if got := configuredPeers(n.raftIfRunning()); len(got) != 1 {
		t.Errorf("the members are %v, want this node alone", got)
	}
}
