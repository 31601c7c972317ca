package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// fleetProcesses are the processes of renewals, and what is seen of them.
type fleetProcesses struct {
	renewalsOptions
	nodes []*nodeProcess
	web   []string // HTTP addresses of the nodes
	notes io.Writer
	of    []*fleetProcess

	mu      sync.Mutex
	slowest time.Duration
}

// fleetProcess is one of them.
type fleetProcess struct {
	selfProcess
	first chan struct{} // closed when it has told figures

	mu   sync.Mutex
	last fleetFigures
}

// startFleets starts the fleets, and returns when everybody renews.
func (s *fleetProcesses) startFleets(ctx context.Context, dir string) error {
	began := time.Now()
	for left := s.servers; left > 0; left -= fleetMost {
		f, err := s.startFleet(dir, min(left, fleetMost))
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
	fmt.Fprintf(s.notes, "%d game servers with %d sessions each entered in %s\n", s.servers, s.sessions, formatBrief(time.Since(began)))
	settled := monotonicNow()
	return s.waitForFigures(ctx, func(l fleetFigures) bool { return l.Oldest > settled })
}

func (s *fleetProcesses) startFleet(dir string, servers int) (*fleetProcess, error) {
	name := fmt.Sprintf("fleet-%d", len(s.of)+1)
	f := &fleetProcess{first: make(chan struct{})}
	var err error
	f.selfProcess, err = startSelf(dir, name, nil, func(out io.Reader) { s.readFigures(f, out) }, "fleet", "--name", name, "--net", fmt.Sprint(len(s.of)+1),
		"--addr", strings.Join(clientsOf(s.nodes), ","), "--servers", fmt.Sprint(servers), "--sessions", fmt.Sprint(s.sessions))
	return f, err
}

func (s *fleetProcesses) readFigures(f *fleetProcess, out io.Reader) {
	lines := json.NewDecoder(out)
	for first := true; ; first = false {
		var l fleetFigures
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

// sumFigures is the sum of what the fleets said last: At and Oldest are the earliest.
func (s *fleetProcesses) sumFigures() (sum fleetFigures, err error) {
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

// waitForFigures waits until what is seen is as it is to be.
func (s *fleetProcesses) waitForFigures(ctx context.Context, is func(fleetFigures) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		l, err := s.sumFigures()
		if err != nil {
			return err
		}
		if is(l) {
			return nil
		}
		if sleepUnlessDone(ctx, fleetTells/4); ctx.Err() != nil {
			return fmt.Errorf("somebody does not renew: the fleets last said %+v\n%s", l, s.lastLines())
		}
	}
}

// lastLines are the last lines of the nodes' logs.
func (s *fleetProcesses) lastLines() string {
	var all strings.Builder
	for i, n := range s.nodes {
		fmt.Fprintf(&all, "node %d:\n%s\n", i+1, n.LastLines())
	}
	return all.String()
}

func (s *fleetProcesses) stopFleets() {
	for _, f := range s.of {
		f.killProcess()
	}
}

// cpu is what a process has used.
func cpuOf(pid int) time.Duration {
	u, err := readUsage(pid)
	if err != nil {
		return 0
	}
	return u.CPU
}
