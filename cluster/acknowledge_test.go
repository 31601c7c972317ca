package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
)

// An answer says that a majority holds the entry and that this node has applied it: a leader alone acknowledges nothing, an
// answer takes as long as the way to another node and back, and what it says is there, here and after this node is lost.
func TestNothingIsAcknowledgedBeforeAMajorityHasIt(t *testing.T) {
	const oneWay = 100 * time.Millisecond
	for _, kind := range []string{"a set", "a save", "a last save"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) {
					config.Heartbeat, config.Election, config.LeaderLease = 4*time.Second, 4*time.Second, 2*time.Second
				})
				c.Ready()
				leader := c.Leader()
				others := []int{(leader + 1) % 3, (leader + 2) % 3}
				n := c.Nodes[leader]
				s := register(t, n, "gs")
				token := session(t, n, s, "p")
				key, write := "p", func(value string, end bool) *fsm.Command { return s.save("p", value, token, end) }
				if kind == "a set" {
					key, write = "q", func(value string, _ bool) *fsm.Command { return s.set("q", value) }
				}

				for _, i := range others {
					c.Network.Delay(clustertest.Name(leader), clustertest.Name(i), oneWay)
				}
				began := time.Now()
				r := propose(t, n, write("first", false))
				if took := time.Since(began); r.Code != fsm.OK || took < oneWay {
					t.Errorf("code %d after %v, and another node is %v away", r.Code, took, oneWay)
				}
				if got := value(t, n, key); got != "first" {
					t.Errorf("it was acknowledged, and the leader has %q", got)
				}
				s.revisions[key] = r.Revision

				c.Network.Isolate(clustertest.Name(leader), clustertest.Name(others[0]), clustertest.Name(others[1]))
				alone, cancel := context.WithTimeout(t.Context(), time.Second) // while it still takes itself for the leader
				defer cancel()
				second := write("second", kind == "a last save")
				if r, err := n.Propose(alone, second); !errors.Is(err, cluster.ErrUnknown) {
					t.Errorf("a leader alone answered %+v, %v, want an unknown outcome", r, err)
				}
				c.Kill(leader)
				next := c.Nodes[c.Leader(others...)]
				if got := value(t, next, key); got != "first" {
					t.Errorf("the next leader has %q, want the last that was acknowledged", got)
				}
				if r := propose(t, next, second); r.Code != fsm.OK || value(t, next, key) != "second" {
					t.Errorf("asked again: code %d, and the profile is %q", r.Code, value(t, next, key))
				}
			})
		})
	}
}

// A command that no node could apply is refused alone: the commands beside it are carried out, and no node stops.
func TestACommandThatNoNodeCanApplyIsNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		n := c.Nodes[c.Leader()]
		s := register(t, n, "gs")
		var proposing sync.WaitGroup
		for i := range 40 {
			command, wrong := s.set(fmt.Sprint("k", i), "v"), i%4 == 0
			if wrong {
				command = []*fsm.Command{
					fsm.NewCommand(nil, &fsm.RaiseLevel{Level: fsm.Level + 1}), // of a build to come
					fsm.NewCommand(nil, &fsm.Register{Name: "\xff", Nonce: make([]byte, 16)}),
				}[i/4%2]
			}
			proposing.Go(func() {
				_, err := n.Propose(t.Context(), command)
				if (err != nil) != wrong || errors.Is(err, cluster.ErrUnknown) {
					t.Errorf("proposal %d, which no node can apply: %v, ended with %v", i, wrong, err)
				}
			})
		}
		proposing.Wait()
		agree(t, c)
		for i, n := range c.Nodes {
			if err := n.Err(); err != nil {
				t.Errorf("node %d stopped: %v", i, err)
			}
		}
	})
}
