//go:build unix

package nodeproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const testLimit = time.Minute

// buildOnce is the program for all tests of this package.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nodeproc")
	if err != nil {
		return "", err
	}
	return Build(context.Background(), dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := buildOnce(); err == nil {
		_ = os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

func newTestCluster(t *testing.T, dir string) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	program, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCluster(program, dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func waitReady(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestKillRestartAndStop(t *testing.T) {
	dir := t.TempDir()
	c := newTestCluster(t, dir)
	for _, n := range c.Nodes {
		n.Log = n.Folder + ".log"
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c)
	victim := c.Nodes[1]
	if err := victim.Start(); err == nil {
		t.Error("a node that is up was started again")
	}
	pid := victim.PID()
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	if victim.Up() || victim.HasEnded() {
		t.Errorf("a killed node: up %v, ended by itself %v", victim.Up(), victim.HasEnded())
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("its process is there after Kill: %v", err)
	}
	var exit *exec.ExitError
	if err := victim.ExitError(); !errors.As(err, &exit) || exit.String() != "signal: killed" {
		t.Errorf("it ended with %v", err)
	}
	if err := c.Start(); err != nil { // the victim alone, at the same ports
		t.Fatal(err)
	}
	waitReady(t, c)
	if victim.PID() == pid {
		t.Error("the same process runs again")
	}
	if err := c.Stop(testLimit); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if err := n.ExitError(); err != nil || n.Up() {
			t.Errorf("a stopped node: up %v, ended with %v", n.Up(), err)
		}
		if lines := n.LastLines(); !strings.Contains(lines, "msg=stopped") {
			t.Errorf("its log does not end with its stop: %s", lines)
		}
	}

	// A cluster knows its members by their addresses: the folder goes on with those it had.
	again := newTestCluster(t, dir)
	if !slices.Equal(again.Clients(), c.Clients()) || !slices.Equal(again.Nodes[0].Members, c.Nodes[0].Members) {
		t.Errorf("the folder starts again at %v, not %v", again.Clients(), c.Clients())
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	waitReady(t, again)
	if _, err := NewCluster("none", dir, 1); err == nil {
		t.Error("a folder of three nodes was taken for one's")
	}
}

// A node takes no settings of this process, and its lines and its start can be taken over.
func TestStartAndLinesOfANode(t *testing.T) {
	t.Setenv("PROFILENODE_SNAPSHOT_BYTES", "nonsense")
	var lines []string
	c := newTestCluster(t, t.TempDir())
	n := c.Nodes[0]
	n.OnStderr = func(line string) { lines = append(lines, line) }
	n.Members = nil // it is a cluster of one
	started := 0
	n.StartIn = func(command *exec.Cmd) error {
		started++
		return command.Start()
	}
	if err := n.Start("--log-level", "debug"); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c)
	if err := n.Stop(testLimit); err != nil { // the last line comes before the end
		t.Fatal(err)
	}
	if started != 1 || !strings.Contains(strings.Join(lines, "\n"), "level=DEBUG") {
		t.Errorf("started %d times, and wrote no debug line in %d", started, len(lines))
	}
}

func TestNodeThatEndsByItself(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no space left on device >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := &Node{Program: program}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "no space left on device") {
		t.Errorf("waiting for it: %v", err)
	}
	var exit *exec.ExitError
	if err := n.ExitError(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("it ended with %v", err)
	}
	if !n.Up() || !n.HasEnded() {
		t.Errorf("up %v, ended by itself %v", n.Up(), n.HasEnded())
	}
	if err := errors.Join(n.Kill(), n.Kill()); err != nil || n.HasEnded() {
		t.Errorf("killed: %v, ended by itself %v", err, n.HasEnded())
	}
}

const parentVariable = "NODEPROC_TEST_PARENT"

// Nodes end with the process that started them, paused ones too, however that one ends.
func TestNodesEndWithTheirParent(t *testing.T) {
	if dir := os.Getenv(parentVariable); dir != "" {
		runParent(dir)
	}
	dir := t.TempDir()
	c := newTestCluster(t, dir) // builds, and chooses the addresses
	parent := exec.Command(os.Args[0], "-test.run", "^TestNodesEndWithTheirParent$")
	parent.Env = append(os.Environ(), parentVariable+"="+dir, "NODEPROC_TEST_PROGRAM="+c.Nodes[0].Program)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = parent.Process.Kill() }()
	lines := bufio.NewScanner(out)
	var pids []int
	for len(pids) < len(c.Nodes) && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the parent said %q", lines.Text())
		}
		pids = append(pids, pid)
	}
	if len(pids) < len(c.Nodes) {
		t.Fatal("the parent ended")
	}
	if paused, err := isPaused(pids[0]); err != nil || !paused {
		t.Fatalf("the first node is not paused: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for deadline := time.Now().Add(testLimit); ; time.Sleep(20 * time.Millisecond) {
		open := 0
		for _, n := range c.Nodes {
			if conn, err := net.Dial("tcp", n.Addresses.Clients); err == nil {
				_ = conn.Close()
				open++
			}
		}
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			t.Fatalf("%d nodes still listen", open)
		}
	}
}

// runParent starts three nodes, pauses the first, prints their process ids, and waits to be killed.
func runParent(dir string) {
	c, err := NewCluster(os.Getenv("NODEPROC_TEST_PROGRAM"), dir, 3)
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	for _, step := range []func() error{
		func() error { return err }, func() error { return c.Start() }, func() error { return c.WaitReady(ctx) },
		func() error { return c.Nodes[0].Pause() },
	} {
		if err := step(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	for _, n := range c.Nodes {
		fmt.Println(n.PID())
	}
	<-ctx.Done()
	os.Exit(1)
}

func TestPauseAndContinue(t *testing.T) {
	c := newTestCluster(t, t.TempDir())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c)
	n := c.Nodes[2]
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	n.RequestStop()
	if paused, err := isPaused(n.PID()); err != nil || !paused {
		t.Errorf("paused %v, %v", paused, err)
	}
	if err := n.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(testLimit); err != nil {
		t.Error(err)
	}
	paused := c.Nodes[0]
	if err := errors.Join(paused.Pause(), paused.Kill()); err != nil {
		t.Error(err)
	}
}
