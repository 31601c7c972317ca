package nodeproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Addresses are where a node listens. An empty one for Gossip or HTTP turns that off; an empty one for ServerGossip
// leaves it at its default.
type Addresses struct{ Clients, Nodes, Gossip, HTTP, ServerGossip string }

// Node is a node that may be started many times. Its exported fields are read at each start. Its methods are safe for
// concurrent use, but for Start, Stop and Kill at the same time.
type Node struct {
	Program   string
	Folder    string // its data
	Addresses Addresses
	Members   []string // Addresses.Nodes of all nodes
	Flags     []string // further flags of profilenode serve

	// StartIn starts the command, for example from a thread in another network namespace; nil: here.
	StartIn func(*exec.Cmd) error

	// Log is a file that stderr is appended to; "": none. Without OnStderr the process writes to it directly.
	Log string
	// OnReady is called once in each run that becomes ready, and before the end of the run.
	OnReady func()
	// OnStderr gets each line, from one goroutine. A run's last line comes before its end.
	OnStderr func(line string)

	mu        sync.Mutex
	run       *run // the current or last one; nil before the first start
	up        bool
	lastLines []string // of stderr, where it is read by lines
}

// run is one life of a node's process.
type run struct {
	command *exec.Cmd
	stdin   interface{ Close() error } // its end asks the process to stop
	ready   chan struct{}              // closed when the process has printed that it is ready
	ended   chan struct{}              // closed when the process has ended and its lines are handled
	err     error                      // how it ended; read after ended
}

const keptLines = 20

// Environ is the environment of this process without settings of profilenode, which are meant for another node.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PROFILENODE_") })
}

// arguments are the command line behind the program.
func (n *Node) arguments() []string {
	a := n.Addresses
	args := []string{
		"serve", "--exit-with-stdin", "--data", n.Folder,
		"--bind", a.Clients, "--bind-nodes", a.Nodes, "--bind-gossip", a.Gossip, "--bind-http", a.HTTP,
	}
	if a.ServerGossip != "" {
		args = append(args, "--bind-server-gossip", a.ServerGossip)
	}
	if len(n.Members) > 0 {
		args = append(args, "--nodes", strings.Join(n.Members, ","))
	}
	return append(args, n.Flags...)
}

// Start starts the process, with flags beside those of the node. A node that is up is an error.
func (n *Node) Start(flags ...string) (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up {
		return fmt.Errorf("start node %s: it was started already, and neither stopped nor killed", n.Folder)
	}
	r := &run{command: exec.Command(n.Program, append(n.arguments(), flags...)...), ready: make(chan struct{}), ended: make(chan struct{})}
	r.command.Env = Environ()
	// An interrupt at the terminal, which goes to the whole group, reaches this process alone, which then ends its nodes.
	UseOwnGroup(r.command)
	if r.stdin, err = r.command.StdinPipe(); err != nil {
		return err
	}
	var log *os.File
	if n.Log != "" {
		if log, err = os.OpenFile(n.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return fmt.Errorf("open log: %w", err)
		}
	}
	n.connectOutput(r, log)
	start := n.StartIn
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(r.command); err != nil {
		_ = r.stdin.Close()
		if log != nil {
			_ = log.Close()
		}
		return fmt.Errorf("start node %s: %w", n.Folder, err)
	}
	n.run, n.up = r, true
	go func() {
		r.err = r.command.Wait() // also waits for the last lines
		if log != nil {
			_ = log.Close()
		}
		close(r.ended)
	}()
	return nil
}

// connectOutput directs the process's output. Stdout goes through this process, since it says when the node is ready.
func (n *Node) connectOutput(r *run, log *os.File) {
	onReady, onStderr := n.OnReady, n.OnStderr
	ready := sync.OnceFunc(func() {
		close(r.ready)
		if onReady != nil {
			onReady()
		}
	})
	r.command.Stdout = &LineWriter{Handle: func(line string) {
		if strings.HasPrefix(line, "ready ") {
			ready()
		}
	}}
	if log != nil && onStderr == nil {
		r.command.Stderr = log // it is complete, however this process ends
		return
	}
	r.command.Stderr = &LineWriter{Handle: func(line string) {
		if log != nil {
			fmt.Fprintln(log, line)
		}
		n.mu.Lock()
		n.lastLines = append(n.lastLines, line)
		n.lastLines = n.lastLines[max(0, len(n.lastLines)-keptLines):]
		n.mu.Unlock()
		if onStderr != nil {
			onStderr(line)
		}
	}}
}

func (n *Node) current() *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run
}

// markDown returns the run of a node that is up, which it no longer is then; nil: it was not.
func (n *Node) markDown() *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up {
		return nil
	}
	n.up = false
	return n.run
}

// Up says whether the node was started, and neither stopped nor killed since. Its process may have ended by itself.
func (n *Node) Up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

// PID is the process id of the current or last run.
func (n *Node) PID() int { return n.current().command.Process.Pid }

// Ended is closed when the process of the last start has ended; before the first start it is nil.
func (n *Node) Ended() <-chan struct{} {
	if r := n.current(); r != nil {
		return r.ended
	}
	return nil
}

// HasEnded says whether the process of a node that is up has ended by itself.
func (n *Node) HasEnded() bool {
	select {
	case <-n.Ended():
		return n.Up()
	default:
		return false
	}
}

// ExitError is how the last run ended: nil for exit code 0, or an [exec.ExitError]. It waits for the end.
func (n *Node) ExitError() error {
	r := n.current()
	<-r.ended
	return r.err
}

// WaitReady waits until the process has printed that it is ready: it serves, and knows a leader.
func (n *Node) WaitReady(ctx context.Context) error {
	r := n.current()
	select {
	case <-r.ready:
		return nil
	case <-r.ended:
		return fmt.Errorf("node %s ended before it was ready:\n%s", n.Folder, n.LastLines())
	case <-ctx.Done():
		return fmt.Errorf("wait for node %s to be ready: %w; it said last:\n%s", n.Folder, ctx.Err(), n.LastLines())
	}
}

// LastLines are the last lines of stderr.
func (n *Node) LastLines() string {
	if n.Log != "" && n.OnStderr == nil {
		text, err := os.ReadFile(n.Log)
		if err != nil {
			return err.Error()
		}
		return string(text[max(0, len(text)-1500):])
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lastLines, "\n")
}

// RequestStop asks the process to end in order, and does not wait for it.
func (n *Node) RequestStop() {
	if r := n.current(); r != nil {
		_ = r.stdin.Close() // it may have ended
	}
}

// Stop asks the process to end in order and waits for that. One that has not ended in time stays up.
func (n *Node) Stop(limit time.Duration) error {
	if !n.Up() {
		return nil
	}
	n.RequestStop()
	select {
	case <-n.Ended():
		n.markDown()
		return nil
	case <-time.After(limit):
		return fmt.Errorf("stop node %s: it has not ended within %v", n.Folder, limit)
	}
}

// Kill ends the process at once, paused or not, and returns when it is gone. A node that is not up stays so.
func (n *Node) Kill() error {
	r := n.markDown()
	if r == nil {
		return nil
	}
	if err := r.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill node %s: %w", n.Folder, err)
	}
	<-r.ended
	return nil
}

// SendKill is Kill for callers that also handle the process's lines and its end, so must not wait here.
func (n *Node) SendKill() error { return n.current().command.Process.Kill() }

// Pause stops the process where it is, and returns when it stands still.
func (n *Node) Pause() error { return PauseProcess(n.current().command.Process) }

// Continue lets a paused process go on.
func (n *Node) Continue() error { return ContinueProcess(n.current().command.Process) }
