package faultfs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

const nodeLimit = 2 * time.Minute

// testCluster is three nodes, each on a file system of its own.
type testCluster struct {
	t *testing.T
	*nodeproc.Cluster
	disks []*FS
}

func startTestCluster(t *testing.T) *testCluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	if err := Probe(); err != nil {
		t.Skipf("not on this machine: %v", err)
	}
	program, err := nodeproc.Build(t.Context(), t.TempDir())
	mustDo(t, err)
	home := t.TempDir()
	c := &testCluster{t: t}
	c.Cluster, err = nodeproc.NewCluster(program, home, 3)
	mustDo(t, err)
	for _, n := range c.Nodes {
		f, err := Open(n.Folder + ".disk")
		mustDo(t, err)
		c.disks = append(c.disks, f)
		n.Folder = filepath.Join(f.Path(), "data")
		n.Flags = []string{"--snapshot-bytes", "1MiB", "--trailing-bytes", "256KiB"}
	}
	t.Cleanup(func() {
		for _, f := range c.disks {
			f.Set() // a node that waits for a sync does not end
		}
		err := c.Kill()
		for _, f := range c.disks {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Error(err)
		}
	})
	c.start()
	return c
}

func (c *testCluster) start() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), nodeLimit)
	defer cancel()
	mustDo(c.t, c.Start(), c.WaitReady(ctx))
}

// run runs a command of profilenode on the cluster.
func (c *testCluster) run(stdin string, args ...string) string {
	c.t.Helper()
	command := exec.Command(c.Nodes[0].Program, append(args, "--addr", strings.Join(c.Clients(), ","), "--timeout", "60s")...)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", args, err, out)
	}
	return string(out)
}

// save saves some profiles, one after the other, with one value.
func (c *testCluster) save(value string) {
	c.t.Helper()
	for i := range 5 {
		c.run(fmt.Sprintf(`{"value":%q}`, value), "set", "players", fmt.Sprint("p", i), "-", "--any-revision")
	}
}

func (c *testCluster) checkSaved(value string) {
	c.t.Helper()
	for i := range 5 {
		if got := c.run("", "get", "players", fmt.Sprint("p", i)); !strings.Contains(got, value) {
			c.t.Errorf("p%d holds %s, want %s", i, got, value)
		}
	}
}

// saveUnsynced begins a save, and returns when a node has written bytes that it has not synced.
func (c *testCluster) saveUnsynced() {
	c.t.Helper()
	for _, f := range c.disks {
		f.Set(Rule{Op: Sync, Delay: time.Second})
	}
	save := exec.Command(c.Nodes[0].Program, "set", "players", "unsynced", "-", "--any-revision", "--addr", strings.Join(c.Clients(), ","))
	save.Stdin = strings.NewReader(`{}`)
	mustDo(c.t, save.Start())
	c.t.Cleanup(func() { _ = save.Wait() }) // it may fail
	for deadline := time.Now().Add(nodeLimit); ; time.Sleep(time.Millisecond) {
		for _, f := range c.disks {
			if f.hasUnsynced() {
				return
			}
		}
		if time.Now().After(deadline) {
			c.t.Fatal("no node writes anything")
		}
	}
}

func (f *FS) hasUnsynced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.bytes {
		if len(j.changes) > 0 {
			return true
		}
	}
	return false
}

// losePower takes the power of every node, and starts them again.
func (c *testCluster) losePower(loss Loss) {
	c.t.Helper()
	for _, f := range c.disks {
		f.CutPower()
	}
	mustDo(c.t, c.Kill())
	for i, f := range c.disks {
		f.Set()
		loss.Seed += uint64(i)
		mustDo(c.t, f.Restore(loss))
	}
	c.start()
}

func TestNodesOutliveLossesOfPower(t *testing.T) {
	c := startTestCluster(t)
	c.losePower(Loss{}) // their folders are as new as can be
	c.save("first")
	c.losePower(Loss{})
	c.checkSaved("first")
	for seed := range uint64(2) {
		value := fmt.Sprint("torn", seed)
		c.save(value)
		c.saveUnsynced()
		c.losePower(Loss{Keep: 0.5, Piece: 512, Seed: 100 * seed})
		c.checkSaved(value)
	}
	var all Effects
	for _, f := range c.disks {
		e := f.Effects()
		all.LostPieces += e.LostPieces
		all.LostNames += e.LostNames
	}
	if all.LostPieces == 0 {
		t.Error("no loss of power took anything")
	}
	t.Logf("lost %d pieces and %d names", all.LostPieces, all.LostNames)
}

func TestNodeWhoseSyncFailsStops(t *testing.T) {
	c := startTestCluster(t)
	c.disks[1].Set(Rule{Op: Sync, Path: "data/log", Errno: syscall.EIO})
	victim := c.Nodes[1]
	for i := 0; !victim.HasEnded(); i++ { // each save is synced by a majority, not always by this node
		if i > 200 {
			t.Fatal("it goes on")
		}
		c.run(`{}`, "set", "players", "p", "-", "--any-revision")
	}
	if c.disks[1].Effects().Failed == 0 {
		t.Error("no sync failed")
	}
	if err := victim.ExitError(); err == nil {
		t.Error("it ended with exit code 0")
	}
	c.disks[1].Set()
	mustDo(t, victim.Kill())
	c.save("after")
	c.losePower(Loss{})
	c.checkSaved("after")
}

// No program that is shipped holds the library that serves the file system.
func TestShippedProgramsDoNotHoldFUSE(t *testing.T) {
	list := exec.Command("go", "list", "-deps",
		"github.com/profilenode/profilenode/client", "github.com/profilenode/profilenode/cmd/profilenode")
	out, err := list.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "google.golang.org/grpc") {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "hanwen/go-fuse") {
		t.Error("go-fuse is in client or cmd/profilenode")
	}
}
