package cluster_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// Each leadership goes on counting where the one before it ended: forgetting needs none that lasts an hour.
func TestShortLeadershipsForgetAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) { config.FS = vfs.NewMem() })
		c.Ready()
		before := passed(t, c.Nodes[0], "gs", "k")
		ended := time.Now()
		for before.answered(t, c.Nodes[0]) {
			if time.Since(ended) > 80*time.Minute {
				t.Fatal("answers are kept for ever while no leadership lasts an hour")
			}
			time.Sleep(10*time.Minute + 30*time.Second)
			c.Stop()
			c.Open(0)
			c.Ready()
		}
		if kept := time.Since(ended); kept < time.Hour {
			t.Errorf("forgotten after %v", kept)
		}
	})
}

// Clocks that were far ahead and are set right again make the timestamps stand still for that long. Minutes are counted all
// the same.
func TestClocksThatWereAheadDoNotStopForgetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		c.Ready()
		n := c.Nodes[0]
		ahead.Store(int64(1000 * time.Hour))
		before := passed(t, n, "gs", "k")
		ahead.Store(0)
		ended := time.Now()
		for before.answered(t, n) {
			if time.Since(ended) > 65*time.Minute {
				t.Fatal("answers are kept until the clocks reach the time to which they were once set")
			}
			time.Sleep(time.Minute)
		}
		if kept := time.Since(ended); kept < time.Hour {
			t.Errorf("forgotten after %v", kept)
		}
	})
}

// A command-line call that has its answers leaves only the answer to its end, which is kept for minutes. Then nothing is
// left to count minutes for, and an idle cluster writes nothing.
func TestWhatLeftNothingIsForgottenInMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 1, nil)
		c.Ready()
		n := c.Nodes[0]
		s := register(t, n, "tool")
		mustSet(t, n, s, "k", "v")
		goodbye := s.do(&fsm.EndServer{})
		goodbye.Request.Settled = goodbye.Request.Number - 1
		answered := func() bool {
			r := propose(t, n, goodbye)
			return r.Code == fsm.OK
		}
		if !answered() {
			t.Fatal("a goodbye was refused")
		}
		ended := time.Now()
		for answered() {
			if time.Since(ended) > 10*time.Minute {
				t.Fatal("the answer to a goodbye is kept for long")
			}
			time.Sleep(10 * time.Second)
		}
		if kept := time.Since(ended); kept < 5*time.Minute {
			t.Errorf("the answer to a goodbye was kept for %v", kept)
		}
		last := n.Status().Last
		time.Sleep(2 * time.Hour)
		if now := n.Status().Last; now != last {
			t.Errorf("an idle cluster wrote %d entries", now-last)
		}
	})
}
