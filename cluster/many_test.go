package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// A dead game server is one row, however much it owned: neither the log nor who waits for one of its profiles notices how
// many there were.
func TestTenThousandProfilesOfTheDeadCostNoMoreThanTen(t *testing.T) {
	few, many := deathOf(t, 10), deathOf(t, 10_000)
	if many.entries > few.entries {
		t.Errorf("%d entries for ten thousand profiles, %d for ten", many.entries, few.entries)
	}
	if slower := many.waited - few.waited; slower > 20*time.Millisecond {
		t.Errorf("its waiter is served after %v where there were ten thousand profiles, after %v where there were ten", many.waited, few.waited)
	}
	if least, most := lock.DefaultTiming().Lease, lock.DefaultTiming().Lease+time.Second; few.waited < least || many.waited > most {
		t.Errorf("served after %v and %v of silence, want %v to %v", few.waited, many.waited, least, most)
	}
}

// price is what a death costs.
type price struct {
	entries uint64        // of the log
	waited  time.Duration // from its last renewal until who waits for one of its profiles owns it
}

func deathOf(t *testing.T, profiles int) (p price) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		n := c.Nodes[c.Leader()]
		dead, waiter := register(t, n, "dead"), register(t, n, "waiter")
		startAll(t, n, dead, profiles)
		if r := propose(t, n, waiter.do(&fsm.StartSession{Store: "test", Key: "p7"})); r.Code != fsm.Queued {
			t.Fatalf("a session on an owned profile: code %d, want Queued", r.Code)
		}
		time.Sleep(time.Second) // until nothing is proposed any more
		renew(t, n, dead)
		at, before := time.Now(), n.Status().Last
		for owner(t, n, "p7") != waiter.inc {
			if time.Since(at) > time.Minute {
				t.Fatal("its waiter is not served")
			}
			if passed := time.Since(at); passed%(500*time.Millisecond) == 0 {
				renew(t, n, waiter)
			}
			time.Sleep(10 * time.Millisecond)
		}
		p.waited = time.Since(at)
		time.Sleep(5 * time.Second) // and whatever else it costs
		p.entries = n.Status().Last - before
		if alive(t, n, dead.inc) {
			t.Error("the dead one lives")
		}
		if r := propose(t, n, waiter.do(&fsm.StartSession{Store: "test", Key: "p8"})); r.Code != fsm.OK {
			t.Errorf("a session on another profile of the dead: code %d, want OK", r.Code)
		}
	})
	return p
}

// startAll opens a session on each of p0, p1, ..., many at a time.
func startAll(t *testing.T, n *cluster.Node, s *server, count int) {
	t.Helper()
	const atATime = 500 // within the window of numbers that are not settled
	for from := 0; from < count; from += atATime {
		var starting sync.WaitGroup
		for i := from; i < min(count, from+atATime); i++ {
			command := s.do(&fsm.StartSession{Store: "test", Key: fmt.Sprint("p", i)})
			command.Request.Settled = uint64(from)
			starting.Go(func() {
				if r, err := n.Propose(t.Context(), command); err != nil || r.Code != fsm.OK {
					t.Errorf("start a session: code %d, %v", r.Code, err)
				}
			})
		}
		starting.Wait()
	}
}

// However many incarnations have ended, a game server that falls silent is expired a lease and a tick later.
func TestASilentGameServerIsExpiredInTimeAmongManyEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 1, nil)
		c.Ready()
		n := c.Nodes[0]
		const calls, atATime = 20_000, 500
		for from := 0; from < calls; from += atATime {
			var calling sync.WaitGroup
			for i := range atATime {
				calling.Go(func() {
					s := register(t, n, fmt.Sprint("call-", from+i))
					propose(t, n, s.do(&fsm.EndServer{}))
				})
			}
			calling.Wait()
		}
		s := register(t, n, "silent")
		renew(t, n, s)
		at := time.Now()
		for alive(t, n, s.inc) {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(at); took > lock.DefaultTiming().Lease+500*time.Millisecond {
			t.Errorf("a silent game server was expired after %v", took)
		}
	})
}
