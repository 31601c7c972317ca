package cluster_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const gibibyte = 1 << 30

// disks says how much is free on each node's.
type diskSpace [3]atomic.Uint64

func (d *diskSpace) start(t *testing.T, change ...func(config *cluster.Config)) *clustertest.Cluster {
	c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
		for _, f := range change {
			f(config)
		}
		d[i].Store(10 * gibibyte)
		config.FreeBytes = func() (uint64, error) { return d[i].Load(), nil }
	})
	c.Ready()
	return c
}

// alarms are the texts of a node's alarms and notices, with their codes.
func alarms(n *cluster.Node) string { return alarmTexts(n.Status()) }

// paging are the codes that page somebody: notices do not.
func paging(n *cluster.Node) (codes []cluster.AlarmCode) {
	for _, a := range n.Status().Alarms {
		if !a.Code.Notice() {
			codes = append(codes, a.Code)
		}
	}
	return codes
}

func alarmTexts(s cluster.Status) string {
	var lines []string
	for _, a := range s.Alarms {
		lines = append(lines, string(a.Code)+" "+a.Text)
	}
	return strings.Join(lines, "\n")
}

// session opens one on a profile.
func session(t *testing.T, n *cluster.Node, s *server, key string) lock.Token {
	t.Helper()
	r := propose(t, n, s.do(&fsm.StartSession{Store: "test", Key: key}))
	if r.Code != fsm.OK {
		t.Fatalf("start session on %s: code %d", key, r.Code)
	}
	return r.Token
}

func (s *server) save(key, value string, token lock.Token, end bool) *fsm.Command {
	set := s.set(key, value).GetSet()
	s.number--
	return s.do(&fsm.Save{Store: "test", Key: key, Token: uint64(token), Base: s.revisions[key], End: end, Data: set.Data})
}

func TestALeaderShortOfSpaceStepsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space diskSpace
		var said lines
		c := space.start(t, func(config *cluster.Config) { config.Log = slog.New(slog.NewTextHandler(&said, nil)) })
		short := c.Leader()
		second := (short + 1) % 3
		space[second].Store(gibibyte / 2)
		time.Sleep(3 * time.Second)
		if !strings.Contains(alarms(c.Nodes[second]), "less than its reserve") || !strings.Contains(alarms(c.Nodes[short]), c.Nodes[second].ID()) {
			t.Errorf("a follower short of space is not told of: %q, and the leader says %q", alarms(c.Nodes[second]), alarms(c.Nodes[short]))
		}
		space[short].Store(gibibyte / 2)
		c.Until("the one that has space to lead", func() bool { return c.Nodes[(short+2)%3].Status().State == "leader" })
		time.Sleep(10 * time.Second)
		if got := c.Leader(); got != (short+2)%3 {
			t.Errorf("node %d leads, want the one that has space", got)
		}
		if text := said.String(); strings.Count(text, "less than its reserve") != 2 || strings.Contains(text, `level=WARN msg="hand the lead over"`) {
			t.Errorf("each of two nodes short of space says so once, and that it gave up the lead is no failure: %s", text)
		}
		for i, n := range c.Nodes {
			if err := n.Err(); err != nil {
				t.Errorf("node %d stopped above its hard reserve: %v", i, err)
			}
		}
	})
}

func TestANodeAtTheHardReserveStopsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space diskSpace
		c := space.start(t)
		full := c.Leader()
		node := c.Nodes[full]
		space[full].Store(100 << 20)
		select {
		case <-node.Done():
		case <-time.After(5 * time.Second):
			t.Fatal("a node goes on below its hard reserve")
		}
		if err := node.Err(); !errors.Is(err, cluster.ErrFailed) || !strings.Contains(err.Error(), "free some space") || strings.Contains(err.Error(), "\n") {
			t.Errorf("it stopped with %v, want one line that says what to do", err)
		}
		c.Kill(full)
		n := c.Nodes[c.Leader()]
		mustSet(t, n, register(t, n, "gs"), "k", "v")
		if err := c.TryOpen(full); err == nil || !strings.Contains(err.Error(), "hard reserve") {
			t.Errorf("it was started again on the full disk: %v", err)
		}
		space[full].Store(gibibyte * 2)
		c.Open(full)
		c.Until("it to vote again", func() bool { return c.Nodes[full].Status().State == "follower" })
	})
}

// With two of three short, saves are refused and last saves are not; with one short everything is taken.
func TestSavesWaitWhileNoMajorityHasSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space diskSpace
		c := space.start(t)
		leader := c.Leader()
		n := c.Nodes[leader]
		s := register(t, n, "gs")
		token := session(t, n, s, "p")
		save := func(value string, end bool) error {
			t.Helper()
			r, err := n.Propose(t.Context(), s.save("p", value, token, end))
			if err == nil && r.Code != fsm.OK {
				t.Fatalf("save %s: code %d", value, r.Code)
			}
			if err == nil {
				s.revisions["p"] = r.Revision
			}
			renew(t, n, s)
			return err
		}
		if err := save("one", false); err != nil {
			t.Fatal(err)
		}
		space[(leader+1)%3].Store(gibibyte / 2)
		time.Sleep(3 * time.Second)
		if err := save("two", false); err != nil {
			t.Errorf("with one node short of space: %v", err)
		}
		space[(leader+2)%3].Store(gibibyte / 2)
		time.Sleep(3 * time.Second)
		if err := save("three", false); !errors.Is(err, cluster.ErrNoSpace) {
			t.Errorf("with two nodes short of space: %v, want ErrNoSpace", err)
		}
		if _, err := n.Propose(t.Context(), s.set("q", "v")); !errors.Is(err, cluster.ErrNoSpace) {
			t.Errorf("a Set with two nodes short of space: %v, want ErrNoSpace", err)
		}
		if !strings.Contains(alarms(n), "saves are refused") {
			t.Errorf("no alarm while saves are refused: %q", alarms(n))
		}
		session(t, n, s, "other")
		if err := save("last", true); err != nil {
			t.Errorf("a last save: %v", err)
		}
		if got := value(t, n, "p"); got != "last" {
			t.Errorf("the profile is %q, want last", got)
		}
		space[(leader+2)%3].Store(2 * gibibyte)
		time.Sleep(3 * time.Second)
		mustSet(t, n, s, "r", "v")
		if got := c.Leader(); got != leader {
			t.Errorf("node %d leads, want %d, which has space", got, leader)
		}

		// All short: there is nobody to give the lead to, and it stays where it is once all have said so.
		for i := range space {
			space[i].Store(gibibyte / 2)
		}
		time.Sleep(5 * time.Second)
		n = c.Nodes[c.Leader()]
		for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(500 * time.Millisecond) {
			if n.Status().State != "leader" {
				t.Fatal("the lead is handed round among nodes that are all short")
			}
		}
	})
}

// A disk that is full when its node starts is told of by the node, not by whatever is written first.
func TestANodeOnAFullDiskSaysSoBeforeItWrites(t *testing.T) {
	for _, test := range []struct {
		name string
		free uint64 // what the disk says
		want string
	}{
		{"nothing is free", 0, "less than the hard reserve"},
		{"it cannot tell", 10 * gibibyte, "is full: free some space and start this node again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			full := badDisk{path: "tables/", err: syscall.ENOSPC}
			full.bad.Store(true)
			c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) {
				config.FS = full.over(vfs.NewMem())
				config.FreeBytes = func() (uint64, error) {
					if full.bad.Load() {
						return test.free, nil
					}
					return 10 * gibibyte, nil
				}
				full.bad.Store(false)
			})
			c.Ready()
			c.Kill(0)
			full.bad.Store(true)
			if err := c.TryOpen(0); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it was started on a full disk: %v", err)
			}
			full.bad.Store(false)
			c.Open(0)
			c.Ready()
		})
	}
}

// A disk takes no new file without inodes, however many bytes are free: they count like space. A disk that does not tell has none
// to count.
func TestADiskWithFewInodesIsNearlyFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space diskSpace
		var free [3]atomic.Uint64
		next := 0
		c := space.start(t, func(config *cluster.Config) {
			i := next
			next++
			free[i].Store(1_000_000)
			config.FreeInodes = func() (uint64, uint64) {
				if i == 2 {
					return 0, 0
				}
				return free[i].Load(), 6_000_000
			}
		})
		few := c.Leader()
		if few == 2 {
			few = 0
		}
		free[few].Store(9_999)
		time.Sleep(3 * time.Second)
		if !strings.Contains(alarms(c.Nodes[few]), "can hold 9999 more files (inodes)") || c.Leader() == few {
			t.Errorf("the node leads: %v, its alarms: %s", c.Leader() == few, alarms(c.Nodes[few]))
		}
		if s := c.Nodes[2].Status(); s.BelowReserve {
			t.Errorf("a node whose disk does not tell is short: %s", alarms(c.Nodes[2]))
		}
		free[few].Store(999)
		time.Sleep(3 * time.Second)
		if err := c.Nodes[few].Err(); !errors.Is(err, cluster.ErrDiskFull) || !strings.Contains(err.Error(), "can hold 999 more files") {
			t.Errorf("with 999 inodes the node goes on, or says %v", err)
		}
	})
}

// What is free moves by some files, and a node at its reserve does not hand the lead over, and raise and end its alarm, in
// turns.
func TestANodeAtItsReserveIsNotShortInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space diskSpace
		c := space.start(t)
		n := (c.Leader() + 1) % 3
		space[n].Store(gibibyte - 1)
		time.Sleep(3 * time.Second)
		for range 10 {
			space[n].Store(gibibyte + 10<<20)
			time.Sleep(3 * time.Second)
			if !c.Nodes[n].Status().BelowReserve {
				t.Fatal("a node is no longer short with 10 MiB more than its reserve")
			}
		}
		space[n].Store(gibibyte + gibibyte/16)
		time.Sleep(3 * time.Second)
		if c.Nodes[n].Status().BelowReserve {
			t.Error("a node is short with a sixteenth more than its reserve")
		}
	})
}
