package cluster_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// server is a game server of a test.
type server struct {
	inc       lock.Incarnation
	nonce     []byte
	number    uint64
	revisions map[string]uint64
}

func register(t *testing.T, n *cluster.Node, name string) *server {
	t.Helper()
	nonce := sha256.Sum256([]byte(name))
	r := propose(t, n, fsm.NewCommand(nil, &fsm.Register{Name: name, Nonce: nonce[:16]}))
	if r.Code != fsm.OK {
		t.Fatalf("register %s: code %d", name, r.Code)
	}
	return &server{inc: lock.Incarnation(r.Token), nonce: nonce[:16], revisions: map[string]uint64{}}
}

// request is one under the server's latest number.
func (s *server) request() *fsm.Request {
	return &fsm.Request{Incarnation: uint64(s.inc), Number: s.number, Settled: s.number - 1, Hash: s.number, Registration: lock.Registration(s.nonce)}
}

func (s *server) do(act any) *fsm.Command {
	s.number++
	return fsm.NewCommand(s.request(), act)
}

func (s *server) set(key, value string) *fsm.Command {
	hash := sha256.Sum256([]byte(value))
	return s.do(&fsm.Set{Store: "test", Key: key, Expected: s.revisions[key], Data: &fsm.Data{Codec: 1, Hash: hash[:], Size: uint64(len(value)), Whole: []byte(value)}})
}

func propose(t *testing.T, n *cluster.Node, c *fsm.Command) fsm.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := n.Propose(ctx, c)
	if err != nil {
		t.Fatalf("propose: %v", err)
	}
	return r
}

func mustSet(t *testing.T, n *cluster.Node, s *server, key, value string) {
	t.Helper()
	r := propose(t, n, s.set(key, value))
	if r.Code != fsm.OK {
		t.Fatalf("set %s: code %d", key, r.Code)
	}
	s.revisions[key] = r.Revision
}

func value(t *testing.T, n *cluster.Node, key string) string {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	p, ok, err := view.Profile("test", key)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	data, _, err := view.Data("test", key, p.Revision)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// agree waits until all running nodes have the same tables at the same index.
func agree(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	c.Until("equal digests", func() bool {
		var first *cluster.Status
		for _, n := range c.Nodes {
			if n == nil {
				continue
			}
			s := n.Status()
			if first == nil {
				first = &s
			}
			if s.Applied != first.Applied {
				return false
			}
			if s.Digest != first.Digest {
				t.Fatalf("digests differ at index %d: %x and %x", s.Applied, s.Digest, first.Digest)
			}
		}
		return true
	})
}

func TestThreeNodesElectProposeAndGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		first := c.Leader()
		s := register(t, c.Nodes[first], "gs")
		for i := range 20 {
			mustSet(t, c.Nodes[first], s, fmt.Sprint("k", i), fmt.Sprint("v", i))
		}
		before := time.Now()
		c.Kill(first)
		second := c.Leader()
		if passed := time.Since(before); passed > 3*time.Second {
			t.Errorf("a new leader after %v, want within 3s", passed)
		}
		if second == first {
			t.Fatalf("node %d leads, and is dead", first)
		}
		for i := range 20 {
			if got, want := value(t, c.Nodes[second], fmt.Sprint("k", i)), fmt.Sprint("v", i); got != want {
				t.Errorf("k%d is %q after the leader's death, want %q", i, got, want)
			}
		}
		mustSet(t, c.Nodes[second], s, "after", "x")
		agree(t, c)
	})
}

func TestFollowerNamesTheLeadersClientAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		follower := (leader + 1) % 3
		want := clustertest.Name(leader) + ":7400"
		c.Until("the follower to know", func() bool {
			client, _ := c.Nodes[follower].Leader()
			return client == want
		})
		_, err := c.Nodes[follower].Propose(t.Context(), fsm.NewCommand(nil, &fsm.Register{Name: "x", Nonce: make([]byte, 16)}))
		var elsewhere *cluster.NotLeaderError
		if !errors.As(err, &elsewhere) || elsewhere.Leader != want {
			t.Errorf("a follower said %v, want NotLeaderError with %s", err, want)
		}
		if _, err := c.Nodes[follower].ConfirmLeadership(t.Context()); !errors.As(err, &elsewhere) {
			t.Errorf("a follower proved: %v", err)
		}
	})
}
