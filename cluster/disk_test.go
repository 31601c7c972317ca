package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/cluster/clustertest"
)

// badDisk fails what is written to paths with some text in them, while it is bad.
type badDisk struct {
	bad  atomic.Bool
	path string
	err  error
}

func (d *badDisk) over(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if d.bad.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && strings.Contains(op.Path, d.path) {
			return d.err
		}
		return nil
	}))
}

// stoppedBy waits for a node to stop itself, and looks at what it says.
func stoppedBy(t *testing.T, n *cluster.Node, why error) {
	t.Helper()
	select {
	case <-n.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a node goes on with a disk that takes nothing")
	}
	if err := n.Err(); !errors.Is(err, cluster.ErrFailed) || !strings.Contains(err.Error(), why.Error()) || strings.Contains(err.Error(), "\n") {
		t.Errorf("it stopped with %q, want one line that says %q", err, why)
	} else if errors.Is(err, cluster.ErrDiskFull) != (why == syscall.ENOSPC) {
		t.Errorf("it stopped with %q, which is an error of a full disk: %v", err, errors.Is(err, cluster.ErrDiskFull))
	} else if why == syscall.ENOSPC && !strings.Contains(err.Error(), "free some space and start this node again") {
		t.Errorf("it stopped with %q, and does not say what to do", err)
	}
}

// A disk that fails or is full stops its node, whatever of it is written there, and no other; once the disk is well the
// node starts again and has everything.
func TestAFailedDiskStopsItsNodeAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		path   string
		part   string // as the log names it
		err    error
		leader bool
		touch  func(t *testing.T, victim, leader *cluster.Node)
	}{
		{"a flush of a follower", "tables/", "tables", syscall.ENOSPC, false, flush},
		{"a flush of the leader", "tables/", "tables", syscall.EIO, true, flush},
		{"a vote", "raft.db", "votes", syscall.ENOSPC, false, func(t *testing.T, victim, leader *cluster.Node) {
			_ = leader.Transfer(t.Context()) // which fails if the victim is whom it chose
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disks, logged := make([]*badDisk, 3), make([]loggedCodes, 3)
				c := clustertest.Start(t, 3, func(i int, config *cluster.Config) {
					disks[i], logged[i] = &badDisk{path: test.path, err: test.err}, newLoggedCodes()
					config.Log = slog.New(logged[i])
					config.FS = disks[i].over(vfs.NewMem())
				})
				c.Ready()
				leader := c.Leader()
				victim := (leader + 1) % 3
				if test.leader {
					victim = leader
				}
				s := register(t, c.Nodes[leader], "gs")
				mustSet(t, c.Nodes[leader], s, "k", "v")
				agree(t, c)

				node := c.Nodes[victim]
				disks[victim].bad.Store(true)
				test.touch(t, node, c.Nodes[leader])
				stoppedBy(t, node, test.err)
				cause := "FAULT"
				if test.err == syscall.ENOSPC {
					cause = "DISK_FULL"
				}
				if got, part := logged[victim].lastField("STOPS", "cause"), logged[victim].lastField("STOPS", "part"); got != cause || part != test.part {
					t.Errorf("it logged cause %q in part %q, want %q in %q", got, part, cause, test.part)
				}
				others := []int{(victim + 1) % 3, (victim + 2) % 3}
				next := c.Nodes[c.Leader(others...)]
				mustSet(t, next, s, "meanwhile", "w")
				for _, i := range others {
					if err := c.Nodes[i].Err(); err != nil {
						t.Errorf("node %d stopped with it: %v", i, err)
					}
				}

				c.Kill(victim)
				disks[victim].bad.Store(false)
				c.Open(victim)
				c.Until("the node to have what it missed", func() bool { return value(t, c.Nodes[victim], "meanwhile") == "w" })
				agree(t, c)
			})
		})
	}
}

// flush is what a snapshot begins with. Nobody waits for it: it cannot end well.
func flush(t *testing.T, victim, _ *cluster.Node) {
	if err := victim.Snapshot(); err == nil {
		t.Error("a snapshot was taken on a disk that takes nothing")
	}
}

// A log whose sync failed stands still, with its goroutines; this process goes on without. Its disk, as a loss of power
// leaves it, is taken up again.
func TestAFailedLogStopsItsNodeAlone(t *testing.T) {
	const nodes = 3
	disks, memory, configs := [nodes]*badDisk{}, [nodes]*vfs.MemFS{}, [nodes]cluster.Config{}
	c := clustertest.Start(t, nodes, func(i int, config *cluster.Config) {
		disks[i] = &badDisk{path: "log/", err: syscall.EIO}
		memory[i] = vfs.NewCrashableMem()
		config.FS = disks[i].over(memory[i])
		configs[i] = *config
	})
	c.Ready()
	victim := c.Leader()
	s := register(t, c.Nodes[victim], "gs")
	mustSet(t, c.Nodes[victim], s, "k", "v")
	agree(t, c)

	node := c.Nodes[victim]
	disks[victim].bad.Store(true)
	brief, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := node.Propose(brief, s.set("lost", "x")); err == nil || errors.Is(err, cluster.ErrBusy) {
		t.Errorf("a proposal into a log that takes nothing: %v, want an unknown outcome", err)
	}
	s.number-- // it will be asked again
	stoppedBy(t, node, syscall.EIO)
	next := c.Leader((victim+1)%nodes, (victim+2)%nodes)
	mustSet(t, c.Nodes[next], s, "meanwhile", "w")
	c.Nodes[victim] = nil
	ctx, over := context.WithTimeout(context.Background(), 20*time.Second)
	defer over()
	if err := node.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}

	configs[victim].FS = memory[victim].CrashClone(vfs.CrashCloneCfg{})
	back := open(t, configs[victim])
	c.Until("the node to have what it missed", func() bool { return value(t, back, "meanwhile") == "w" && value(t, back, "k") == "v" })
	closeNode(t, back)
}
