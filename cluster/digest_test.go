package cluster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// keeping gives every node a file system that outlives it.
func keeping(disks map[int]vfs.FS) func(int, *cluster.Config) {
	return func(i int, c *cluster.Config) {
		disks[i] = vfs.NewMem()
		c.FS = disks[i]
	}
}

// diverge makes one node's tables others than the log says, and proposes the entry in whose place it has another, and one
// that it applies.
func diverge(t *testing.T, leader, odd *cluster.Node, key string) {
	t.Helper()
	if err := odd.ApplyBehind(fsm.NewCommand(nil, &fsm.SetNode{Id: "nobody", Address: key})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		propose(t, leader, fsm.NewCommand(nil, &fsm.OpenTerm{Node: "whoever"}))
	}
}

func quiet(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	time.Sleep(3 * time.Second) // the rows of the nodes are written
	agree(t, c)
}

func TestTheOddNodeStopsAndItsFolderIsCondemned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := map[int]vfs.FS{}
		c := clustertest.Start(t, 3, keeping(disks))
		c.Ready()
		leader := c.Leader()
		odd := (leader + 1) % 3
		quiet(t, c)
		node := c.Nodes[odd]
		diverge(t, c.Nodes[leader], node, "x:1")
		select {
		case <-node.Done():
		case <-time.After(5 * time.Second):
			t.Fatalf("a node whose tables differ goes on: %+v", node.Status())
		}
		if err := node.Err(); err == nil || !strings.Contains(err.Error(), "is unusable") || strings.Contains(err.Error(), "\n") {
			t.Errorf("it stopped with %v, want one line that says unusable", err)
		}
		s := register(t, c.Nodes[leader], "gs")
		mustSet(t, c.Nodes[leader], s, "k", "v")
		c.Kill(odd)
		if err := c.TryOpen(odd); err == nil || !strings.Contains(err.Error(), "empty the folder") {
			t.Errorf("an unusable folder was opened: %v", err)
		}

		// Emptied, it is a new node, and gets its tables from the others.
		for _, name := range []string{"node.json", "raft.db", "log", "tables", "snapshots"} {
			if err := disks[odd].RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
		c.Open(odd)
		c.Until("the emptied node to vote", func() bool {
			return c.Nodes[odd].Status().State == "follower" && len(voters(c.Nodes[leader])) == 3
		})
		agree(t, c)
		if got := value(t, c.Nodes[odd], "k"); got != "v" {
			t.Errorf("the rebuilt node has %q, want v", got)
		}
	})
}

func TestAnOddLeaderHandsTheLeadOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		odd, third := (leader+1)%3, (leader+2)%3
		quiet(t, c)
		node := c.Nodes[odd]
		c.Network.Isolate(clustertest.Name(third), "n0", "n1", "n2")
		diverge(t, c.Nodes[leader], node, "x:1")
		if err := c.Nodes[leader].TransferTo(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		if got := c.Leader(); got != odd {
			t.Fatalf("node %d leads, want the odd one, %d", got, odd)
		}
		time.Sleep(5 * time.Second)
		for _, i := range []int{leader, odd} {
			if err := c.Nodes[i].Err(); err != nil {
				t.Fatalf("node %d stopped with one against one: %v", i, err)
			}
			if raised := alarms(c.Nodes[i]); !strings.Contains(raised, "it is not known which is right") {
				t.Errorf("node %d raises no alarm: %q", i, raised)
			}
		}
		c.Network.HealAll()
		healed := time.Now()
		select {
		case <-node.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("an odd leader goes on")
		}
		// Whom it asked to follow may still be counting votes; without being asked both would follow for some time yet.
		if a, b := c.Nodes[leader].Status().State, c.Nodes[third].Status().State; a == "follower" && b == "follower" {
			t.Errorf("the odd leader stopped while the others were %s and %s, want it to hand the lead over first", a, b)
		}
		c.Nodes[odd] = nil
		c.Leader()
		if passed := time.Since(healed); passed > 5*time.Second {
			t.Errorf("another one leads after %v", passed)
		}
		s := register(t, c.Nodes[c.Leader()], "gs")
		mustSet(t, c.Nodes[c.Leader()], s, "k", "v")
		time.Sleep(3 * time.Second)
		for _, i := range []int{leader, third} {
			if err := c.Nodes[i].Err(); err != nil {
				t.Errorf("node %d stopped: %v", i, err)
			}
		}
		closeNode(t, node)
	})
}

func TestWhenAllDifferAllSaySoAndNobodyStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		quiet(t, c)
		for i, key := range map[int]string{1: "x:1", 2: "y:1"} {
			if err := c.Nodes[(leader+i)%3].ApplyBehind(fsm.NewCommand(nil, &fsm.SetNode{Id: "nobody", Address: key})); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			propose(t, c.Nodes[leader], fsm.NewCommand(nil, &fsm.OpenTerm{Node: "whoever"}))
		}
		time.Sleep(10 * time.Second)
		for i, n := range c.Nodes {
			if err := n.Err(); err != nil {
				t.Errorf("node %d stopped: %v", i, err)
			}
			if raised := alarms(n); !strings.Contains(raised, "it is not known which is right") {
				t.Errorf("node %d raises no alarm: %q", i, raised)
			}
		}
		s := register(t, c.Nodes[leader], "gs")
		mustSet(t, c.Nodes[leader], s, "k", "v")
	})
}
