package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// fleets are the processes of renewals, and what is seen of them.
type fleets struct {
	renewals
	nodes []*node
	web   []string // HTTP addresses of the nodes
	notes io.Writer
	of    []*fleetProcess

	mu      sync.Mutex
	slowest time.Duration
}

// fleetProcess is one of them.
type fleetProcess struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	log     string
	ended   chan struct{}
	first   chan struct{}

	mu   sync.Mutex
	last fleetLine
}

// enter starts the fleets, and returns when everybody renews.
func (s *fleets) enter(ctx context.Context, dir string) error {
	began := time.Now()
	for left := s.servers; left > 0; left -= fleetMost {
		f, err := s.start(dir, min(left, fleetMost))
		if err != nil {
			return err
		}
		s.of = append(s.of, f)
	}
	for _, f := range s.of {
		select {
		case <-f.first:
		case <-f.ended:
			return f.endedError()
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
	fmt.Fprintf(s.notes, "%d game servers with %d sessions each entered in %s\n", s.servers, s.sessions, brief(time.Since(began)))
	settled := thisMoment()
	return s.await(ctx, func(l fleetLine) bool { return l.Oldest > settled })
}

func (s *fleets) start(dir string, servers int) (*fleetProcess, error) {
	name := fmt.Sprintf("fleet-%d", len(s.of)+1)
	f := &fleetProcess{log: filepath.Join(dir, name+".log"), ended: make(chan struct{}), first: make(chan struct{})}
	var out io.Reader
	var err error
	f.process, f.stdin, out, err = startSelf(f.log, nil, "fleet", "--name", name, "--net", fmt.Sprint(len(s.of)+1),
		"--addr", strings.Join(clientsOf(s.nodes), ","), "--servers", fmt.Sprint(servers), "--sessions", fmt.Sprint(s.sessions))
	if err != nil {
		return nil, fmt.Errorf("start a fleet: %w", err)
	}
	go func() {
		s.read(f, out)
		_ = f.process.Wait() // why it ended is in its log
		close(f.ended)
	}()
	return f, nil
}

func (s *fleets) read(f *fleetProcess, out io.Reader) {
	lines := json.NewDecoder(out)
	for first := true; ; first = false {
		var l fleetLine
		if lines.Decode(&l) != nil {
			return
		}
		f.mu.Lock()
		f.last = l
		f.mu.Unlock()
		s.mu.Lock()
		s.slowest = max(s.slowest, l.Slowest)
		s.mu.Unlock()
		if first {
			close(f.first)
		}
	}
}

func (f *fleetProcess) endedError() error {
	text, _ := os.ReadFile(f.log)
	return fmt.Errorf("a fleet ended:\n%s", text[max(0, len(text)-2000):])
}

// seen is the sum of what the fleets said last: At and Oldest are the earliest.
func (s *fleets) seen() (sum fleetLine, err error) {
	for i, f := range s.of {
		select {
		case <-f.ended:
			return sum, f.endedError()
		default:
		}
		f.mu.Lock()
		l := f.last
		f.mu.Unlock()
		sum.Answered += l.Answered
		sum.Proven += l.Proven
		sum.Differed += l.Differed
		sum.Opened += l.Opened
		sum.Doubted += l.Doubted
		sum.Ended += l.Ended
		if i == 0 || l.Oldest < sum.Oldest {
			sum.Oldest = l.Oldest
		}
		if i == 0 || l.At < sum.At {
			sum.At = l.At
		}
	}
	return sum, nil
}

// await waits until what is seen is as it is to be.
func (s *fleets) await(ctx context.Context, is func(fleetLine) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		l, err := s.seen()
		if err != nil {
			return err
		}
		if is(l) {
			return nil
		}
		if pause(ctx, fleetTells/4); ctx.Err() != nil {
			return fmt.Errorf("somebody does not renew: the fleets last said %+v\n%s", l, s.sayings())
		}
	}
}

// sayings are the last lines of the nodes' logs.
func (s *fleets) sayings() string {
	var all strings.Builder
	for i, n := range s.nodes {
		fmt.Fprintf(&all, "node %d:\n%s\n", i+1, n.saying())
	}
	return all.String()
}

func (s *fleets) end() {
	for _, f := range s.of {
		_ = f.process.Process.Kill() // it may have ended
		<-f.ended
		_ = f.stdin.Close()
	}
}

// cpu is what a process has used.
func cpuOf(pid int) time.Duration {
	u, err := (&node{process: &exec.Cmd{Process: &os.Process{Pid: pid}}}).usage()
	if err != nil {
		return 0
	}
	return u.CPU
}
