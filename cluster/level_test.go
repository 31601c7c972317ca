package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

const newer = fsm.Level + 1 // of a build to come

// restart gives node i another build.
func (d *disks) restart(i int, level uint32) {
	d.t.Helper()
	d.configs[i].Level = level
	d.Kill(i)
	d.reopen(i, d.fs[i])
}

// at says that all nodes that run are at a level, and hold the same.
func (d *disks) at(level uint32) {
	d.t.Helper()
	agree(d.t, d.Cluster)
	for i, n := range d.Nodes {
		if n != nil && n.Status().Level != level {
			d.t.Errorf("node %d is at level %d, want %d", i, n.Status().Level, level)
		}
	}
}

// rises waits for the level to rise, as the leader among some nodes says; of all when none are given.
func (d *disks) rises(of ...int) {
	d.t.Helper()
	d.Until("the level to rise", func() bool { return d.Nodes[d.Leader(of...)].Status().Level == newer })
}

// set has a profile written, by somebody new.
func (d *disks) set(key string) {
	d.t.Helper()
	leader := d.Nodes[d.Leader()]
	mustSet(d.t, leader, register(d.t, leader, "writer of "+key), key, "v")
}

// Builds are exchanged one after the other, and both kinds lead the other meanwhile. The level rises with the last of them,
// and who comes back with the old build then says what it lacks and holds nobody up.
func TestTheLevelRisesWithTheLastVotersBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, nil)
		led := d.Leader()
		first, second := (led+1)%3, (led+2)%3
		d.restart(first, newer)
		d.set("led by an older build")
		d.Network.Isolate(clustertest.Name(second), clustertest.Name(led), clustertest.Name(first))
		d.restart(led, newer)
		d.set("led by a newer build")
		d.Network.HealAll()
		time.Sleep(5 * time.Second)
		d.at(fsm.Level)
		d.restart(second, newer)
		d.rises()
		d.set("at the new level")
		d.at(newer)

		back := (d.Leader() + 1) % 3
		d.Kill(back)
		d.configs[back].Level = fsm.Level
		n, err := cluster.Open(t.Context(), d.configs[back])
		if err == nil {
			d.close(n)
		}
		if !errors.Is(err, fsm.ErrOldBuild) {
			t.Errorf("an older build on newer tables: %v", err)
		}
		d.set("without the older build")
		d.configs[back].Level = newer
		d.reopen(back, d.fs[back])
		d.at(newer)
	})
}

// A voter that is away may still run the old build.
func TestTheLevelWaitsForAVoterThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, func(c *cluster.Config) { c.Level = newer })
		d.rises()
	})
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, nil)
		away := (d.Leader() + 1) % 3
		d.Kill(away)
		for i := range d.Nodes {
			if i != away {
				d.restart(i, newer)
			}
		}
		time.Sleep(20 * time.Second)
		d.set("k")
		d.at(fsm.Level)
		d.configs[away].Level = newer
		d.reopen(away, d.fs[away])
		d.rises()
		d.at(newer)
	})
}

// A learner does not count for the level. One of an older build that was let in before the level rose stops where it rose, be
// that in the log or in a snapshot, and votes once it is of a newer one; a stranger of an older build is not let in after it.
func TestALearnerOfAnOlderBuildNeverVotes(t *testing.T) {
	t.Run("it reads the log", func(t *testing.T) { learnerOfAnOlderBuild(t, false) })
	t.Run("it gets a snapshot", func(t *testing.T) { learnerOfAnOlderBuild(t, true) })
}

func learnerOfAnOlderBuild(t *testing.T, snapshot bool) {
	synctest.Test(t, func(t *testing.T) {
		d := onDisks(t, 3, func(c *cluster.Config) {
			if snapshot {
				c.TrailingBytes, c.TrailingLogs = 0, 5
			}
		})
		last := (d.Leader() + 1) % 3
		for i := range d.Nodes {
			if i != last {
				d.restart(i, newer)
			}
		}
		hosts := []string{clustertest.Name(0), clustertest.Name(1), clustertest.Name(2)}
		nodes := []string{"n0:7401", "n1:7401", "n2:7401", "n3:7401"}
		expect(t, d.Nodes[d.Leader()], "n3:7401")
		learner := d.Add(nodes, func(_ int, c *cluster.Config) { c.FS = vfs.NewCrashableMem() })
		id := d.Nodes[learner].ID()
		member := func() (in, votes bool) {
			for _, m := range d.Nodes[d.Leader(0, 1, 2)].Status().Members {
				if m.ID == id {
					return true, m.Voter
				}
			}
			return false, false
		}
		d.Until("the learner to be in", func() bool { in, _ := member(); return in })
		d.Network.Isolate(clustertest.Name(learner), hosts...)
		d.restart(last, newer)
		d.rises(0, 1, 2)
		if in, votes := member(); !in || votes {
			t.Fatalf("the learner is in: %v, votes: %v", in, votes)
		}
		for i := range 10 {
			d.set(fmt.Sprint("beyond its log ", i))
		}
		if snapshot { // the log is cut behind it
			for i := range hosts {
				d.Until("a snapshot", func() bool { return d.Nodes[i].Snapshot() == nil })
			}
		}
		d.Network.HealAll()
		d.Until("the learner to stop", func() bool { return d.Nodes[learner].Err() != nil })
		if err := d.Nodes[learner].Err(); !errors.Is(err, fsm.ErrOldBuild) {
			t.Errorf("it stopped with %v", err)
		}
		time.Sleep(5 * time.Second)
		if _, votes := member(); votes {
			t.Error("a learner of an older build was given a vote")
		}

		says := fmt.Sprintf("this cluster is at level %d, that node knows %d", newer, fsm.Level)
		expect(t, d.Nodes[d.Leader()], "n4:7401")
		stranger := d.Add(append(nodes, "n4:7401"), nil)
		d.Until("the stranger to say why it waits", func() bool {
			return strings.Contains(alarms(d.Nodes[stranger]), says)
		})
		d.Kill(stranger)

		d.close(d.Nodes[learner])
		d.Nodes[learner] = nil
		d.Reopen(learner, func(c *cluster.Config) { c.Level = newer })
		d.Until("the learner to vote", func() bool { _, votes := member(); return votes })
		d.at(newer)
	})
}
