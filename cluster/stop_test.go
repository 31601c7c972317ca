package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

const closeLimit = 6 * time.Second // for the drain, the hand-over and raft's answers, which are 2 s each at most

// closes ends a node and fails the test if that takes longer than it may.
func closes(t *testing.T, n *cluster.Node) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*closeLimit)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if passed := time.Since(began); passed > closeLimit {
		t.Errorf("close took %v, want at most %v", passed, closeLimit)
	}
}

func TestCloseRightAfterTheStartReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) { config.FS = vfs.NewMem() })
		closes(t, c.Nodes[0])
		c.Open(0)
		c.Ready()
		for i := range c.Nodes { // members now: raft runs at once
			closes(t, c.Nodes[i])
			c.Open(i)
			closes(t, c.Nodes[i])
			c.Open(i)
		}
		c.Ready()
		c.Leader()
	})
}

func TestCloseBeforeAnyClusterReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 0, nil)
		c.Network.Cut("n0", "n1") // a dial to n1 neither succeeds nor fails
		n := c.Nodes[c.Add([]string{"n0:7401", "n1:7401", "n2:7401"}, nil)]
		time.Sleep(3300 * time.Millisecond)
		if s := n.Status(); s.State != "waiting" {
			t.Fatalf("it is %s", s.State)
		}
		closes(t, n)
		c.Nodes[0] = nil
	})
}

func TestCloseTwiceAtOnceReturnsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, nil)
		c.Ready()
		leader := c.Leader()
		var closing sync.WaitGroup
		for range 2 {
			closing.Go(func() { closes(t, c.Nodes[leader]) })
		}
		closing.Wait()
		closes(t, c.Nodes[leader])
		c.Nodes[leader] = nil
	})
}

// The receiver is in raft's main loop, reading; the sender waits for its answer.
func TestCloseInMidInstallReturns(t *testing.T) {
	for _, end := range []string{"receiver", "sender"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, sender, receiver := inMidInstall(t)
				ends := receiver
				if end == "sender" {
					ends = sender
				}
				closes(t, d.Nodes[ends])
				d.Nodes[ends] = nil
			})
		})
	}
	t.Run("receiver whose sender has vanished", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d, sender, receiver := inMidInstall(t)
			d.Network.Vanish(clustertest.Name(sender))
			time.Sleep(100 * time.Millisecond)
			closes(t, d.Nodes[receiver])
			d.Nodes[receiver] = nil
		})
	})
}

// The disk holds the checkpoint up for a while. The files it needs are made only once the node is closing.
func TestCloseWhileASnapshotIsMadeReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowLinks{FS: vfs.NewMem(), began: make(chan struct{})}
		c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
			config.FS = vfs.NewMem()
			if i == 0 {
				config.FS = slow
			}
		})
		c.Ready()
		s := register(t, c.Nodes[c.Leader()], "gs")
		mustSet(t, c.Nodes[c.Leader()], s, "k", "v")
		agree(t, c)
		slow.on()
		taken := make(chan error, 1)
		go func() { taken <- c.Nodes[0].Snapshot() }()
		<-slow.began
		closes(t, c.Nodes[0])
		c.Nodes[0] = nil
		<-taken
	})
}

// slowLinks takes a second for each hard link, which only checkpoints make.
type slowLinks struct {
	vfs.FS
	mu    sync.Mutex
	slow  bool
	once  sync.Once
	began chan struct{}
}

func (s *slowLinks) on() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = true
}

func (s *slowLinks) Link(from, to string) error {
	s.mu.Lock()
	slow := s.slow
	s.mu.Unlock()
	if slow {
		s.once.Do(func() { close(s.began) })
		time.Sleep(time.Second)
	}
	return s.FS.Link(from, to)
}

// A leader that is cut off holds entries and a change of members that will never commit.
func TestCloseWhileNothingCommitsReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, 3, func(_ int, config *cluster.Config) {
			// Cut off, it goes on leading for longer than Close may take.
			config.Heartbeat, config.Election, config.LeaderLease = 10*time.Second, 10*time.Second, 10*time.Second
		})
		c.Ready()
		leader := c.Leader()
		n := c.Nodes[leader]
		s := register(t, n, "gs")
		c.Network.Isolate(clustertest.Name(leader), "n0", "n1", "n2")
		const calls = 20
		outcomes := make(chan error, calls)
		for range calls {
			command := s.set("k", "v")
			go func() {
				_, err := n.Propose(context.Background(), command)
				outcomes <- err
			}()
		}
		removing := make(chan error, 1)
		go func() { removing <- n.Remove(context.Background(), c.Nodes[(leader+1)%3].ID()) }()
		synctest.Wait()
		closes(t, n)
		c.Nodes[leader] = nil
		for range calls {
			var elsewhere *cluster.NotLeaderError
			if err := <-outcomes; !errors.Is(err, cluster.ErrUnknown) && !errors.Is(err, cluster.ErrClosed) && !errors.Is(err, cluster.ErrBusy) && !errors.As(err, &elsewhere) {
				t.Errorf("a proposal ended with %v", err)
			}
		}
		if err := <-removing; err == nil {
			t.Error("a node was removed without a majority")
		}
	})
}
