package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

func voters(n *cluster.Node) (ids []string) {
	for _, m := range n.Status().Members {
		if m.Voter {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func TestNobodyFoundsAClusterWhileAListedNodeIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := []string{"n0:7401", "n1:7401", "n2:7401"}
		c := clustertest.Start(t, 0, nil)
		c.Add(nodes, nil)
		c.Add(nodes, nil)
		time.Sleep(time.Minute)
		for i, n := range c.Nodes {
			if s := n.Status(); s.State != "waiting" || len(s.Cluster) > 0 {
				t.Fatalf("node %d is %s of cluster %x without its third", i, s.State, s.Cluster)
			}
		}
		if raised := alarms(c.Nodes[0]); !strings.Contains(raised, "n2:7401") {
			t.Errorf("a waiting node says %q, want it to name who is missing", raised)
		}
		c.Add(nodes, nil)
		c.Ready()
		for i, n := range c.Nodes {
			if got := len(voters(n)); got != 3 {
				t.Errorf("node %d counts %d voters, want 3", i, got)
			}
			if string(n.Status().Cluster) != string(c.Nodes[0].Status().Cluster) {
				t.Errorf("node %d is in another cluster", i)
			}
		}
	})
}

func TestNodesThatListOtherNodesFoundNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 0, nil)
		c.Add([]string{"n0:7401", "n1:7401"}, nil)
		c.Add([]string{"n0:7401", "n1:7401", "n2:7401"}, nil)
		time.Sleep(time.Minute)
		for i, n := range c.Nodes {
			if s := n.Status(); s.State != "waiting" {
				t.Errorf("node %d is a %s of a cluster that was never agreed on", i, s.State)
			}
		}
	})
}

func TestAWipedNodeComesBackAsANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		s := register(t, c.Nodes[leader], "gs")
		mustSet(t, c.Nodes[leader], s, "k", "v")
		wiped := (leader + 1) % 3
		old := c.Nodes[wiped].ID()
		c.Kill(wiped)
		c.Open(wiped)
		c.Until("the new node to vote in the old one's place", func() bool {
			ids := voters(c.Nodes[leader])
			return len(ids) == 3 && !slices.Contains(ids, old) && slices.Contains(ids, c.Nodes[wiped].ID())
		})
		if c.Nodes[wiped].ID() == old {
			t.Fatal("an empty node took up the old id")
		}
		mustSet(t, c.Nodes[leader], s, "after", "w")
		agree(t, c)
		if got := value(t, c.Nodes[wiped], "k"); got != "v" {
			t.Errorf("the new node has %q, want v", got)
		}
	})
}

// S is acknowledged by a and b, c is behind. b is wiped and comes back at its address, a dies: c must not be elected by
// the vote of the empty node, or S is gone.
func TestAnEmptyNodeAtAnOldAddressElectsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		a := c.Leader()
		b, behind := (a+1)%3, (a+2)%3
		s := register(t, c.Nodes[a], "gs")
		c.Network.Isolate(clustertest.Name(behind), clustertest.Name(a), clustertest.Name(b))
		mustSet(t, c.Nodes[a], s, "k", "v")
		c.Kill(a)
		c.Kill(b)
		c.Open(b)
		c.Network.HealAll()
		for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(100 * time.Millisecond) {
			if state := c.Nodes[behind].Status().State; state == "leader" {
				t.Fatal("the laggard was elected by an empty node at the lost voter's address")
			}
		}
	})
}

func TestAFourthNodeCatchesUpBySnapshotUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small := func(_ int, config *cluster.Config) { config.SnapshotBytes, config.TrailingLogs = 64<<10, 200 }
		c := clustertest.Start(t, 3, small)
		c.Ready()
		leader := c.Leader()
		n := c.Nodes[leader]
		s := register(t, n, "gs")
		for i := range 600 {
			mustSet(t, n, s, fmt.Sprint("k", i%50), strings.Repeat("x", 1000))
			if i%50 == 0 {
				renew(t, n, s)
				time.Sleep(500 * time.Millisecond)
			}
		}
		if n.Status().Snapshot == 0 {
			t.Fatal("no snapshot was taken")
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if i%100 == 0 {
					renew(t, n, s)
				}
				mustSet(t, n, s, fmt.Sprint("l", i%50), fmt.Sprint(i))
			}
		}()
		expect(t, c.Nodes[c.Leader()], "n3:7401")
		fourth := c.Add([]string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}, small)
		c.Until("the fourth node to vote", func() bool { return slices.Contains(voters(n), c.Nodes[fourth].ID()) })
		close(stop)
		<-stopped
		if c.Nodes[fourth].Status().Snapshot == 0 {
			t.Error("the fourth node got the whole log, want a snapshot")
		}
		agree(t, c)
	})
}

func TestANodeThatMissedTenThousandEntriesCatchesUp(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand entries")
	}
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		n := c.Nodes[leader]
		s := register(t, n, "gs")
		cut := (leader + 1) % 3
		c.Network.Isolate(clustertest.Name(cut), "n0", "n1", "n2")
		for i := range 10_000 {
			mustSet(t, n, s, fmt.Sprint("k", i%100), fmt.Sprint(i))
		}
		c.Network.HealAll()
		healed := time.Now()
		agree(t, c)
		if passed := time.Since(healed); passed > 20*time.Second {
			t.Errorf("caught up after %v", passed)
		}
	})
}

func TestCloseInTheMiddleOfEverythingReturns(t *testing.T) {
	for _, name := range []string{"waiting", "leading", "cut off"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, 3, nil)
				victim := 0
				if name != "waiting" {
					c.Ready()
					victim = c.Leader()
				}
				n := c.Nodes[victim]
				if name == "cut off" {
					c.Network.Isolate(clustertest.Name(victim), "n0", "n1", "n2")
				}
				ended := make(chan error, 50)
				if name != "waiting" {
					for i := range 50 {
						go func() {
							_, err := n.Propose(context.Background(), (&server{inc: 1, number: uint64(i)}).set("k", "v"))
							ended <- err
						}()
					}
				}
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := n.Close(ctx); err != nil {
					t.Errorf("close: %v", err)
				}
				if passed := time.Since(begin); passed > 6*time.Second {
					t.Errorf("close took %v", passed)
				}
				c.Nodes[victim] = nil
				if name != "waiting" {
					for range 50 {
						err := <-ended
						var elsewhere *cluster.NotLeaderError
						if err != nil && !errors.Is(err, cluster.ErrUnknown) && !errors.Is(err, cluster.ErrClosed) && !errors.As(err, &elsewhere) {
							t.Errorf("propose said %v", err)
						}
					}
				}
				if _, err := n.Propose(t.Context(), (&server{}).set("k", "v")); !errors.Is(err, cluster.ErrClosed) {
					t.Errorf("propose after close said %v, want ErrClosed", err)
				}
			})
		})
	}
}

// on disk and on loopback, in real time: a data folder.
func onDisk(dir string) cluster.Config {
	c := cluster.DefaultConfig()
	c.Dir, c.Bind, c.Client = dir, "127.0.0.1:0", "127.0.0.1:1"
	return c
}

func open(t *testing.T, c cluster.Config) *cluster.Node {
	t.Helper()
	n, err := cluster.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, n) })
	select {
	case <-n.Ready():
	case <-time.After(20 * time.Second):
		t.Fatalf("not ready: %+v", n.Status())
	}
	return n
}

func closeNode(t *testing.T, n *cluster.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestANodeKeepsItsFolder(t *testing.T) {
	dir := t.TempDir()
	n := open(t, onDisk(dir))
	id := n.ID()
	s := register(t, n, "gs")
	for i := range 100 {
		mustSet(t, n, s, fmt.Sprint("k", i), fmt.Sprint("v", i))
	}
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	mustSet(t, n, s, "last", "behind the snapshot")
	if _, err := cluster.Open(t.Context(), onDisk(dir)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second node on the folder: %v, want a refusal", err)
	}
	closeNode(t, n)

	n = open(t, onDisk(dir))
	if n.ID() != id {
		t.Errorf("id is %s after a restart, want %s", n.ID(), id)
	}
	if got := value(t, n, "k99"); got != "v99" {
		t.Errorf("k99 is %q after a restart", got)
	}
	if got := value(t, n, "last"); got != "behind the snapshot" {
		t.Errorf("last is %q after a restart", got)
	}
	closeNode(t, n)

	if err := os.Remove(filepath.Join(dir, "raft.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Open(t.Context(), onDisk(dir)); err == nil || !strings.Contains(err.Error(), "raft.db is missing") {
		t.Errorf("a member's folder without its log: %v, want a refusal", err)
	}
}

// Real files under a network in memory: the leader is killed and comes back on its folder, at another address.
func TestAMemberComesBackOnItsFolderAtAnotherAddress(t *testing.T) {
	configs := make([]cluster.Config, 3)
	c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
		config.Memory, config.Dir = false, t.TempDir()
		configs[i] = *config
	})
	c.Ready()
	leader := c.Leader()
	id := c.Nodes[leader].ID()
	s := register(t, c.Nodes[leader], "gs")
	for i := range 50 {
		mustSet(t, c.Nodes[leader], s, fmt.Sprint("k", i), "v")
	}
	c.Kill(leader)
	next := c.Leader()
	mustSet(t, c.Nodes[next], s, "meanwhile", "w")

	moved := configs[leader]
	moved.Bind = clustertest.Name(leader) + ":7499"
	back := open(t, moved)
	if back.ID() != id {
		t.Errorf("id is %s, want %s", back.ID(), id)
	}
	c.Until("the others to know its address", func() bool {
		for _, m := range c.Nodes[next].Status().Members {
			if m.ID == id {
				return m.Voter && m.Address == moved.Bind
			}
		}
		return false
	})
	if got := len(voters(c.Nodes[next])); got != 3 {
		t.Errorf("%d voters, want 3", got)
	}
	c.Until("what it missed", func() bool { return value(t, back, "meanwhile") == "w" })
	closeNode(t, back)
}

func TestANodeRefusesALogThatForgot(t *testing.T) {
	dir := t.TempDir()
	log, votes := filepath.Join(dir, "log"), filepath.Join(dir, "raft.db")
	n := open(t, onDisk(dir))
	closeNode(t, n)
	early := t.TempDir()
	if err := os.CopyFS(early, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	n = open(t, onDisk(dir))
	s := register(t, n, "gs")
	for i := range 100 {
		mustSet(t, n, s, "k", fmt.Sprint(i))
	}
	closeNode(t, n)
	refused := func(what, why string) {
		t.Helper()
		if _, err := cluster.Open(t.Context(), onDisk(dir)); err == nil || !strings.Contains(err.Error(), "may have forgotten") || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want a refusal that says %q", what, err, why)
		}
	}

	late, err := os.ReadFile(votes)
	if err != nil {
		t.Fatal(err)
	}
	restore(t, filepath.Join(early, "raft.db"), votes)
	refused("votes older than the log", "its votes in raft.db are of term 2")
	if err := os.WriteFile(votes, late, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	refused("no log", "its log in log is missing")
	refused("still no log", "its log in log is missing")
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(log, os.DirFS(filepath.Join(early, "log"))); err != nil {
		t.Fatal(err)
	}
	refused("tables ahead of the log", "its log ends at")
}

func restore(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
