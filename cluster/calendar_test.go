package cluster_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// past is a game server that saved once and said goodbye: a late copy of its save must still be answered.
type past struct{ save *fsm.Command }

func passed(t *testing.T, n *cluster.Node, name, key string) past {
	t.Helper()
	s := register(t, n, name)
	save := s.set(key, "v")
	if r := propose(t, n, save); r.Code != fsm.OK {
		t.Fatalf("save: code %d", r.Code)
	}
	goodbye := s.do(&fsm.EndServer{})
	goodbye.Request.Settled = 0 // the save's answer stays
	if r := propose(t, n, goodbye); r.Code != fsm.OK {
		t.Fatalf("goodbye: code %d", r.Code)
	}
	return past{save}
}

func (p past) answered(t *testing.T, n *cluster.Node) bool {
	t.Helper()
	r := propose(t, n, p.save)
	if r.Code == fsm.OK && !r.Repeated {
		t.Fatal("a save was carried out twice")
	}
	return r.Code == fsm.OK
}

// A week down is no hour of running: what was asked before it is answered after it, for an hour.
func TestAWeekDownForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) { config.FS = vfs.NewMem() })
		c.Ready()
		before := passed(t, c.Nodes[0], "gs", "k")
		time.Sleep(2 * time.Minute)
		if a := alarms(c.Nodes[0]); strings.Contains(a, "moved by") {
			t.Errorf("an alarm while nothing was wrong: %q", a)
		}
		c.Stop()
		time.Sleep(7 * 24 * time.Hour)

		c.Open(0)
		c.Ready()
		n := c.Nodes[0]
		if off := time.Until(time.UnixMilli(n.Status().StampMS)); off.Abs() > time.Minute {
			propose(t, n, fsm.NewCommand(nil, &fsm.OpenTerm{}))
			if off = time.Until(time.UnixMilli(n.Status().StampMS)); off.Abs() > time.Minute {
				t.Fatalf("after the week stamps are %v off", off)
			}
		}
		opened := time.Now()
		for time.Since(opened) < 58*time.Minute {
			if !before.answered(t, n) {
				t.Fatalf("forgotten %v after a week down", time.Since(opened))
			}
			if a := alarms(n); !strings.Contains(a, "WAS_DOWN the time of the cluster moved by 168h") {
				t.Fatalf("no notice %v after a week down: %q", time.Since(opened), a)
			}
			if codes := paging(n); len(codes) > 0 {
				t.Fatalf("somebody is paged for a week down: %v", codes)
			}
			time.Sleep(10 * time.Minute)
		}
		for before.answered(t, n) {
			if time.Since(opened) > 75*time.Minute {
				t.Fatal("answers are kept for ever")
			}
			time.Sleep(time.Minute)
		}
		if a := alarms(n); strings.Contains(a, "moved by") {
			t.Errorf("the notice outlives its hour: %q", a)
		}
	})
}

// A machine that sleeps, lid closed, in the midst of its lead: its timers stand still and its clock goes on.
func TestASleepingLeaderForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		})
		c.Ready()
		n := c.Nodes[0]
		time.Sleep(90 * time.Minute)
		before := passed(t, n, "gs", "k")
		time.Sleep(time.Minute)
		slept.Store(int64(10 * time.Hour))
		time.Sleep(30 * time.Minute)
		if !before.answered(t, n) {
			t.Error("forgotten half an hour after the machine woke")
		}
		if a := alarms(n); !strings.Contains(a, "CLOCKS_SET the time of the cluster moved by 10h") {
			t.Errorf("no alarm: %q", a)
		}
	})
}

// While no node led, the clocks were set: that is more than the time without a leader.
func TestClocksThatWereSetWithoutALeaderRaiseAnAlarm(t *testing.T) {
	for _, test := range []struct {
		set  time.Duration
		want cluster.AlarmCode
	}{{0, cluster.NoticeDown}, {10 * time.Hour, cluster.AlarmClocksSet}} {
		synctest.Test(t, func(t *testing.T) {
			var ahead atomic.Int64
			c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) {
				config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			})
			c.Ready()
			for _, pair := range [][2]string{{"n0", "n1"}, {"n0", "n2"}, {"n1", "n2"}} {
				c.Network.Cut(pair[0], pair[1])
			}
			time.Sleep(5 * time.Minute)
			ahead.Store(int64(test.set))
			c.Network.HealAll()
			n := c.Nodes[c.Leader()]
			stands := slices.ContainsFunc(n.Status().Alarms, func(a cluster.Alarm) bool { return a.Code == test.want })
			if !stands || test.want.Notice() && len(paging(n)) > 0 {
				t.Errorf("clocks set by %v: want %s, got %q", test.set, test.want, alarms(n))
			}
		})
	}
}

// A cluster that nobody used for a while has old stamps too, and that is no downtime.
func TestAnIdleClusterWasNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		time.Sleep(10 * time.Minute)
		next := c.Nodes[(leader+1)%3]
		if err := c.Nodes[leader].TransferTo(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		c.Leader()
		time.Sleep(2 * time.Minute)
		if a := alarms(next); strings.Contains(a, "moved by") {
			t.Errorf("an alarm after an idle time: %q", a)
		}
	})
}

// A year ahead, a new leader thins no history and forgets no answer: the stamp is the voters' median.
func TestANewLeaderWithAWrongClockLosesNothing(t *testing.T) {
	for _, off := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var wrong atomic.Int64
			wrong.Store(-1)
			c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
				config.Now = func() time.Time {
					if int64(i) == wrong.Load() {
						return time.Now().Add(off)
					}
					return time.Now()
				}
			})
			c.Ready()
			leader := c.Leader()
			before := passed(t, c.Nodes[leader], "gs", "k")
			s := register(t, c.Nodes[leader], "writer")
			for _, v := range []string{"a", "b", "c"} {
				mustSet(t, c.Nodes[leader], s, "h", v)
			}
			next := (leader + 1) % 3
			wrong.Store(int64(next))
			n := c.Nodes[next]
			if err := c.Nodes[leader].TransferTo(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if got := c.Leader(); got != next {
				t.Fatalf("node %d leads, want %d", got, next)
			}
			for range 10 {
				renew(t, n, s)
				time.Sleep(5 * time.Second)
				if away := time.Until(time.UnixMilli(n.Status().StampMS)); away > time.Second {
					t.Fatalf("stamps are %v ahead", away)
				}
				if !before.answered(t, n) {
					t.Fatal("a wrong clock made an answer forgotten")
				}
			}
			mustSet(t, n, s, "h", "d")
			view, err := n.View()
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
			if h, err := view.History("test", "h"); err != nil || len(h) != 4 {
				t.Errorf("%d revisions are left, %v, want 4", len(h), err)
			}
			if a := alarms(n); !strings.Contains(a, "clock of node "+n.ID()) {
				t.Errorf("no alarm for the clock: %q", a)
			}
		})
	}
}

// All of it after each other: down for a week, two of three come back, the clock of the next leader is a year ahead, the
// third comes back on a disk that is nearly full, and then its tables differ. Writes go on, and nothing is lost.
func TestTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space diskSpace
		var wrong atomic.Int64
		wrong.Store(-1)
		disks := map[int]vfs.FS{}
		c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
			keeping(disks)(i, config)
			space[i].Store(10 * gibibyte)
			config.FreeBytes = func() (uint64, error) { return space[i].Load(), nil }
			config.Now = func() time.Time {
				if int64(i) == wrong.Load() {
					return time.Now().Add(365 * 24 * time.Hour)
				}
				return time.Now()
			}
		})
		c.Ready()
		first := c.Nodes[c.Leader()]
		before := passed(t, first, "gs", "k")
		written := map[string]string{}
		write := func(n *cluster.Node, when string) {
			t.Helper()
			mustSet(t, n, register(t, n, "writer, "+when), "k "+when, when)
			written["k "+when] = when
			if !before.answered(t, n) {
				t.Fatalf("%s: an answer is forgotten", when)
			}
		}
		write(first, "before")
		c.Stop()
		time.Sleep(7 * 24 * time.Hour)

		c.Open(0)
		c.Open(1)
		up := c.Leader(0, 1)
		write(c.Nodes[up], "two are up")

		next := 1 - up
		wrong.Store(int64(next))
		if err := c.Nodes[up].TransferTo(t.Context(), c.Nodes[next]); err != nil {
			t.Fatal(err)
		}
		n := c.Nodes[c.Leader(next)]
		for range 5 {
			time.Sleep(5 * time.Second)
			if ahead := time.Until(time.UnixMilli(n.Status().StampMS)); ahead > time.Second {
				t.Fatalf("stamps are %v ahead", ahead)
			}
		}
		write(n, "the leader's clock is a year ahead")

		space[2].Store(gibibyte / 2)
		c.Open(2)
		c.Until("the third to have all", func() bool { return c.Nodes[2].Status().Applied == n.Status().Applied })
		write(n, "one disk is nearly full")

		time.Sleep(3 * time.Second) // the rows of the nodes are written
		odd := c.Nodes[2]
		c.Until("equal tables", func() bool { return odd.Status().Applied == n.Status().Applied })
		diverge(t, n, odd, "x:1")
		c.Until("the odd one to stop", func() bool { return odd.Err() != nil })
		write(n, "one digest is odd")
		for key, want := range written {
			if got := value(t, n, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if n.Err() != nil || c.Nodes[up].Err() != nil {
			t.Errorf("a node that is well has stopped: %v, %v", n.Err(), c.Nodes[up].Err())
		}
	})
}

// What the policies keep for some days is dropped by whoever leads then, and the minutes are counted as long as something waits for
// them.
func TestTheRevisionsOfARemovedProfileAreDroppedWhenTheirDaysAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) { config.FS = vfs.NewMem() })
		c.Ready()
		s := register(t, c.Nodes[0], "gs")
		set := func(name string, value int64) {
			if r := propose(t, c.Nodes[0], s.do(&fsm.SetPolicy{Name: name, Value: value})); r.Code != fsm.OK {
				t.Fatalf("set policy %s: code %d", name, r.Code)
			}
		}
		kept := func(key string) int {
			view, err := c.Nodes[0].View()
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
			revisions, err := view.History("test", key)
			if err != nil {
				t.Fatal(err)
			}
			return len(revisions)
		}
		remove := func(key string) {
			mustSet(t, c.Nodes[0], s, key, "v1")
			mustSet(t, c.Nodes[0], s, key, "v2")
			if r := propose(t, c.Nodes[0], s.do(&fsm.Remove{Store: "test", Key: key, AnyRevision: true})); r.Code != fsm.OK {
				t.Fatalf("remove %s: code %d", key, r.Code)
			}
		}
		remove("later")
		set(fsm.PolicyRemovedDays, 0)
		remove("at once")
		c.Until("the revisions to be dropped", func() bool { return kept("at once") == 1 })
		if n := kept("later"); n != 3 {
			t.Errorf("%d revisions are kept of a profile whose days are not over", n)
		}
		view, err := c.Nodes[0].View()
		if err != nil {
			t.Fatal(err)
		}
		before, err := view.Minute()
		if err != nil {
			t.Fatal(err)
		}
		view.Close()
		c.Stop()
		c.Open(0)
		c.Ready()
		time.Sleep(2 * time.Minute)
		c.Until("the next leader to count minutes", func() bool {
			view, err := c.Nodes[0].View()
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
			now, err := view.Minute()
			return err == nil && now > before+1
		})
	})
}
