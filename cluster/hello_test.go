package cluster_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster/clustertest"
)

// Nodes are asked who they are all the while that they found and enter a cluster. Once one says that it is a member it says of
// which: whoever hears of a cluster without a name enters that one, and stays alone.
func TestANodeThatSaysHelloWhileItEntersNamesItsCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		var asked atomic.Int64 // before it was a member
		var asking sync.WaitGroup
		for i, n := range c.Nodes {
			asking.Go(func() {
				for ; ; asked.Add(1) {
					switch member, cluster := n.SaysHello(); {
					case member && cluster == "":
						t.Errorf("node %d is a member of a cluster without a name", i)
						return
					case member:
						return
					}
					time.Sleep(time.Microsecond)
				}
			})
		}
		asking.Wait()
		if asked.Load() == 0 {
			t.Error("all were members before anybody asked: this proves nothing")
		}
		c.Ready()
	})
}
