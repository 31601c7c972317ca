package cluster_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// Who asks a follower while the leader is lost is told of the next one, once, and not sent to the lost one or round in
// circles.
func TestWhoComesWithoutALeaderWaitsForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, func(i int, config *cluster.Config) { config.Client = fmt.Sprintf("client-%d:7400", i) })
		c.Ready()
		lost := c.Leader()
		c.Kill(lost)
		time.Sleep(160 * time.Millisecond) // above half of the heartbeat, below it: nobody asks for votes yet
		outcome := make(map[int]chan error)
		for i, n := range c.Nodes {
			if i == lost {
				continue
			}
			outcome[i] = make(chan error, 1)
			go func() {
				for {
					_, err := n.ConfirmLeadership(t.Context())
					var elsewhere *cluster.NotLeaderError
					if errors.As(err, &elsewhere) && elsewhere.Leader == "" {
						time.Sleep(10 * time.Millisecond) // votes were split, or the next leader's address is not known yet
						continue
					}
					outcome[i] <- err
					return
				}
			}()
		}
		began := time.Now()
		errs := make(map[int]error)
		for i, o := range outcome {
			errs[i] = <-o
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v until both had answered", took)
		}
		next := c.Leader()
		for i, err := range errs {
			var elsewhere *cluster.NotLeaderError
			switch {
			case i == next && err != nil:
				t.Errorf("the next leader: %v", err)
			case i != next && !errors.As(err, &elsewhere):
				t.Errorf("the follower: %v, want it to name the leader", err)
			case i != next && elsewhere.Leader != fmt.Sprintf("client-%d:7400", next):
				t.Errorf("the follower names %q, want node %d", elsewhere.Leader, next)
			}
		}
	})
}
