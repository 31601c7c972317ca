package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// movingCluster is three nodes on file systems that outlive them.
type movingCluster struct {
	*clustertest.Cluster
	disks []*vfs.MemFS
	ids   []string
	moved []string // addresses to which the nodes come back
}

// startMoving starts three nodes, writes a profile, and stops all of them.
func startMoving(t *testing.T) *movingCluster {
	c := &movingCluster{disks: make([]*vfs.MemFS, 3)}
	c.Cluster = clustertest.Start(t, 3, func(i int, config *cluster.Config) {
		c.disks[i] = vfs.NewCrashableMem()
		config.FS = c.disks[i]
	})
	c.Ready()
	leader := c.Nodes[c.Leader()]
	mustSet(t, leader, register(t, leader, "gs"), "k", "v")
	agree(t, c.Cluster)
	for i := range 3 {
		c.ids = append(c.ids, c.Nodes[i].ID())
		c.moved = append(c.moved, fmt.Sprintf("%s:7501", clustertest.Name(i)))
	}
	for i := range 3 {
		c.disks[i] = c.disks[i].CrashClone(vfs.CrashCloneCfg{})
		c.Kill(i)
	}
	return c
}

// reopen starts node i on its file system at its new address, with the list of all new ones.
func (c *movingCluster) reopen(i int, more ...string) {
	c.Reopen(i, func(config *cluster.Config) {
		config.FS, config.Bind = c.disks[i], c.moved[i]
		config.Nodes = append(append([]string{}, c.moved...), more...)
	})
}

// knowsAddresses says whether node i has all of its cluster at the new addresses.
func (c *movingCluster) knowsAddresses(i int) bool {
	found := 0
	for _, m := range c.Nodes[i].Status().Members {
		for k, id := range c.ids {
			if m.ID == id && m.Address == c.moved[k] {
				found++
			}
		}
	}
	return found == 3
}

// All nodes come back at new addresses, as pods do: raft's configuration has the old ones.
func TestNodesThatAllMovedElectALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startMoving(t)
		began := time.Now()
		for i := range 3 {
			c.reopen(i)
		}
		leader := c.Nodes[c.Leader()]
		if passed := time.Since(began); passed < 10*time.Second || passed > 20*time.Second {
			t.Errorf("a leader after %v, want one soon after ten seconds", passed)
		}
		if got := value(t, leader, "k"); got != "v" {
			t.Errorf("k is %q, want v", got)
		}
		mustSet(t, leader, register(t, leader, "later"), "q", "w")
		c.Until("every node to know the new addresses", func() bool { return c.knowsAddresses(0) && c.knowsAddresses(1) && c.knowsAddresses(2) })
		agree(t, c.Cluster)
		c.Kill(c.Leader())
		next := c.Nodes[c.Leader()]
		mustSet(t, next, register(t, next, "last"), "r", "x")
	})
}

// One of them runs twice, on a copy of its data folder: it is reached at neither address, and the others say so. Once the copy
// is stopped, the node is in again.
func TestAMovedNodeThatRunsTwiceIsReachedAtNeitherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startMoving(t)
		stray := c.disks[2].CrashClone(vfs.CrashCloneCfg{})
		copied := c.Add(append([]string{"n3:7501"}, c.moved...), func(_ int, config *cluster.Config) {
			config.FS, config.Bind = stray, "n3:7501"
		})
		for i := range 3 {
			c.reopen(i, "n3:7501")
		}
		if c.Nodes[copied].ID() != c.ids[2] {
			t.Fatal("the copy has another id")
		}
		c.Leader(0, 1)
		for range 60 {
			time.Sleep(time.Second)
			for _, i := range []int{2, copied} {
				if s := c.Nodes[i].Status(); s.Leader != "" {
					t.Fatalf("node %d, of which there are two, knows the leader %s", i, s.Leader)
				}
			}
		}
		for i := range c.Nodes {
			if text, stands := hasAlarm(c.Nodes[i], cluster.AlarmFolderCopied); !stands || !strings.Contains(text, c.ids[2]) || !strings.Contains(text, "n3:7501") {
				t.Errorf("node %d says %q, want that %s runs at two addresses", i, text, c.ids[2])
			}
		}
		c.Kill(copied)
		c.Until("the node to be in again", func() bool { return c.knowsAddresses(2) })
		if text, stands := hasAlarm(c.Nodes[0], cluster.AlarmFolderCopied); stands {
			t.Errorf("the copy is stopped, and still: %s", text)
		}
		agree(t, c.Cluster)
	})
}
