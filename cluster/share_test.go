package cluster_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// slow is three nodes whose entries take 100 ms each, two at a time.
func slow(t *testing.T) (n *cluster.Node, s []*server) {
	c := clustertest.Start(t, 3, nil)
	c.Ready()
	leader := c.Leader()
	for i := range 12 {
		s = append(s, register(t, c.Nodes[leader], fmt.Sprint("gs", i)))
	}
	for i := range 3 {
		if i != leader {
			c.Network.Delay(clustertest.Name(leader), clustertest.Name(i), 50*time.Millisecond)
			c.Network.Delay(clustertest.Name(i), clustertest.Name(leader), 50*time.Millisecond)
		}
	}
	return c.Nodes[leader], s
}

// putParts puts the parts of a 4 MiB save for each of some game servers, all at once, and says when each is through.
func putParts(t *testing.T, n *cluster.Node, of []*server) (through func() []time.Time) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var times []time.Time
	bytes := make([]byte, fsm.PartBytes)
	for _, s := range of {
		s.number++
		for i := range uint32(8) {
			c := fsm.NewCommand(s.request(), &fsm.PutPart{Part: i, Bytes: bytes})
			all.Go(func() {
				if r := propose(t, n, c); r.Code != fsm.OK {
					t.Errorf("put a part: code %d", r.Code)
				}
				mu.Lock()
				defer mu.Unlock()
				times = append(times, time.Now())
			})
		}
	}
	synctest.Wait()
	return func() []time.Time {
		all.Wait()
		return times
	}
}

// Eight saves of 4 MiB are in the queue. A small one that comes then waits for what is on its way, and goes with the next.
func TestASmallSaveDoesNotWaitForLargeOnesBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := slow(t)
		began := time.Now()
		parts := putParts(t, n, s[:8])
		mustSet(t, n, s[9], "k", "small")
		took := time.Since(began)
		all := time.Duration(0)
		for _, at := range parts() {
			all = max(all, at.Sub(began))
		}
		if took > 450*time.Millisecond || all < 2*time.Second {
			t.Errorf("the small save took %v while the large ones took %v, want what is on its way and an entry of its own", took, all)
		}
	})
}

// A save of 4 MiB goes on while small ones fill every entry.
func TestALargeSaveGoesOnUnderAFloodOfSmallOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := slow(t)
		value := strings.Repeat("x", 60<<10)
		stop := make(chan struct{})
		var flood sync.WaitGroup
		for g := range 3 {
			for k := range 30 { // 90 at once are five entries' worth
				command := s[9+g].set(fmt.Sprint("k", g, "-", k), value)
				command.Request.Settled = 0
				flood.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						if r := propose(t, n, command); r.Code != fsm.OK { // the same number again is answered again, and takes as much of an entry
							t.Errorf("set: code %d", r.Code)
							return
						}
					}
				})
			}
		}
		synctest.Wait()
		began := time.Now()
		putParts(t, n, s[:1])()
		took := time.Since(began)
		close(stop)
		flood.Wait()
		if took > time.Second {
			t.Errorf("eight parts took %v under the flood, want a second at most: one goes in each entry", took)
		}
	})
}
