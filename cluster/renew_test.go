package cluster_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/lock"
)

// From the moment that a leader reaches no majority its answers renew nothing, though it does not know it yet: what it
// would note the next one's judge never hears.
func TestACutOffLeaderRenewsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		n := c.Nodes[leader]
		s := register(t, n, "gs")
		renew(t, n, s)
		c.Network.Isolate(clustertest.Name(leader), "n0", "n1", "n2")
		for cut := time.Now(); time.Since(cut) < 5*time.Second; time.Sleep(50 * time.Millisecond) {
			if _, err := n.Renew(t.Context(), s.inc); err == nil {
				t.Fatalf("renewed %v after the leader was cut off", time.Since(cut))
			}
		}
	})
}

// A judge that is held up, as by a stop of its process, has renewals unread: the time that it lost is nobody's silence.
func TestALateTickCountsAgainstNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timing := lock.DefaultTiming()
		held := timing.Evidence + 2*time.Second
		var hold atomic.Bool
		began := make(chan struct{}, 1)
		c := clustertest.Start(t, 1, func(_ int, config *cluster.Config) {
			config.SeemsDead = func(lock.Incarnation) bool { // asked in the midst of a tick
				if hold.CompareAndSwap(true, false) {
					began <- struct{}{}
					time.Sleep(held)
				}
				return true
			}
		})
		c.Ready()
		n := c.Nodes[c.Leader()]
		s := register(t, n, "gs")
		time.Sleep(2 * lock.DefaultDetector().TickPeriod)
		renew(t, n, s)
		hold.Store(true)
		<-began
		time.Sleep(held + lock.DefaultDetector().TickPeriod/2) // the first look after it is over
		if !alive(t, n, s.inc) {
			t.Fatalf("expired for a silence of %v in which the judge was held up", held)
		}
		renew(t, n, s)

		// It is judged again, from here on.
		time.Sleep(timing.Evidence + 2*lock.DefaultDetector().TickPeriod)
		if alive(t, n, s.inc) {
			t.Errorf("it lives on after a silence of %v, and gossip holds it for dead", timing.Evidence+2*lock.DefaultDetector().TickPeriod)
		}
	})
}
