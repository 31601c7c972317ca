package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// managerSocket stands for systemd: it hears what this process tells it.
type managerSocket struct {
	messages chan string
}

// listenAsManager sets the variables by which systemd asks a process to report, with a watchdog.
func listenAsManager(t *testing.T, watchdog time.Duration) *managerSocket {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("systemd runs on Linux alone")
	}
	folder, err := os.MkdirTemp("", "notify") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "socket")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	m := &managerSocket{messages: make(chan string, 10_000)}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			m.messages <- string(buffer[:n])
		}
	}()
	return m
}

// waitFor reads messages until each of prefixes has begun one, as often as it is listed.
func (m *managerSocket) waitFor(t *testing.T, prefixes ...string) {
	t.Helper()
	limit := time.After(startLimit)
	for len(prefixes) > 0 {
		select {
		case message := <-m.messages:
			for i, prefix := range prefixes {
				if strings.HasPrefix(message, prefix) {
					prefixes = slices.Delete(prefixes, i, i+1)
					break
				}
			}
		case <-limit:
			t.Fatalf("the service manager was not told %q", prefixes)
		}
	}
}

// A node says that it is ready once it is, that it lives as often as it was asked to, and that it stops.
func TestServeReportsToTheServiceManager(t *testing.T) {
	m := listenAsManager(t, 400*time.Millisecond)
	s := beginServe(t)
	m.waitFor(t, "READY=1", "STATUS=ready, leads", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
	s.awaitReady(t)
	s.stop()
	m.waitFor(t, "STOPPING=1")
}

// stateOfNode is a node in a state that is hard to bring a real one into.
type stateOfNode struct {
	ready, done     chan struct{}
	err, hang, loop error
	leader          string
	leads           bool
}

func (n *stateOfNode) Ready() <-chan struct{} { return n.ready }
func (n *stateOfNode) Done() <-chan struct{}  { return n.done }
func (n *stateOfNode) Err() error             { return n.err }
func (n *stateOfNode) DiskHang() error        { return n.hang }
func (n *stateOfNode) CheckRaft() error       { return n.loop }
func (n *stateOfNode) Leader() (string, bool) { return n.leader, n.leads }

// The watchdog is starved only where a restart helps and the process may not end by itself.
func TestWatchdog(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	hang := errors.New("the disk does not answer")
	for name, c := range map[string]struct {
		node  stateOfNode
		alive bool
	}{
		"Leads":                        {stateOfNode{ready: closed, leads: true}, true},
		"InNoClusterYet":               {stateOfNode{}, true},
		"NoMajority":                   {stateOfNode{ready: closed}, true},
		"FollowerWithHungDisk":         {stateOfNode{ready: closed, leader: "n2", hang: hang}, true},
		"SingleNodeWithHungDisk":       {stateOfNode{ready: closed, leads: true, hang: hang}, true},
		"StoppedItselfForItsHungDisk":  {stateOfNode{ready: closed, done: closed, err: hang}, false},
		"RaftAnswersNothingDiskIsWell": {stateOfNode{ready: closed, loop: errors.New("raft does not answer")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := listenAsManager(t, 40*time.Millisecond)
			log := &lockedBuffer{}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			newServiceManager(slog.New(slog.NewTextHandler(log, nil))).tellStatus(ctx, &c.node)
			m.messages <- "end"
			told := 0
			for message := range m.messages {
				if message == "end" {
					break
				}
				if message == "WATCHDOG=1" {
					told++
				}
			}
			if alive := told > 2; alive != c.alive || told > 0 != c.alive {
				t.Errorf("told %d times that it lives, want it to be told: %t", told, c.alive)
			}
			if got := strings.Count(log.String(), "WATCHDOG_STARVED"); got > 1 || (got == 1) == c.alive {
				t.Errorf("%d lines in the log:\n%s", got, log)
			}
		})
	}
}
