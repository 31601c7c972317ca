package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// renewalsReport is what a run of renewals found.
type renewalsReport struct {
	Machine  string  `json:"machine"`
	Servers  int     `json:"servers"`
	Sessions int     `json:"sessions_each"`
	Seconds  float64 `json:"seconds"`

	Nodes []renewalsNode `json:"nodes"`
	Cores float64        `json:"cores"`       // of all nodes
	Load  float64        `json:"cores_fleet"` // of the processes of game servers

	Answered float64 `json:"answered_per_second"`
	Proven   float64 `json:"proven_per_second"`
	Differed uint64  `json:"differed"` // answers that named all grants
	Slowest  float64 `json:"slowest_ms"`
	Streams  uint64  `json:"streams_opened"` // while watched
	Doubted  uint64  `json:"in_doubt"`
	Ended    uint64  `json:"ended"`
	Terms    uint64  `json:"terms"` // that began while watched; one of them may have had no leader
	Leads    int     `json:"leads"` // that began while watched

	Storm float64 `json:"all_renew_again_ms,omitempty"` // from the kill of the leader
}

// renewalsNode is one node, while it was watched.
type renewalsNode struct {
	Leader         bool    `json:"leader"`
	Killed         bool    `json:"killed,omitempty"`
	Cores          float64 `json:"cores"`
	RSS            uint64  `json:"rss_bytes"`
	Goroutines     int     `json:"goroutines"`
	BytesEach      uint64  `json:"bytes_a_server"`
	GoroutinesEach float64 `json:"goroutines_a_server"`
}

// watchRenewals measures for as long as was asked.
func (s *fleetProcesses) watchRenewals(ctx context.Context, leads *nodeProcess) (*renewalsReport, error) {
	r := &renewalsReport{Machine: describeMachine(), Servers: s.servers, Sessions: s.sessions}
	before, err := s.sumFigures()
	if err != nil {
		return nil, err
	}
	term, err := leads.askStatus(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the leader: %w", err)
	}
	s.mu.Lock()
	s.slowest = 0
	s.mu.Unlock()
	load, led := s.loadCPU(), s.countLeaderChanges()
	first := s.cpuOfNodes(nil)
	began := time.Now()
	half := s.watch / 2
	profiled := func() error { return nil }
	if s.profile != "" && !s.killLeader {
		profiled = s.profileNodes(ctx, func(int) string { return s.profile }, leads)
	}
	sleepUnlessDone(ctx, half)
	var dead *nodeProcess
	if s.killLeader {
		dead = leads
		s.countRenewals(ctx, r, leads, nil, first, time.Since(began)) // what the leader was, while it was
		fell := monotonicNow()
		_ = leads.Kill()
		if s.profile != "" {
			profiled = s.profileNodes(ctx, func(number int) string { return fmt.Sprint(s.profile, ".", number) }, s.nodesExcept(dead)...)
		}
		fmt.Fprintln(s.notes, "killed the leader")
		if err := s.waitForFigures(ctx, func(l fleetFigures) bool { return l.Oldest > fell }); err != nil {
			return nil, err
		}
		l, _ := s.sumFigures()
		r.Storm = toMillis(l.At.since(fell))
		fmt.Fprintf(s.notes, "everybody renews again after %s\n", formatBrief(l.At.since(fell)))
		if leads, err = findLeader(ctx, s.nodesExcept(dead)); err != nil {
			return nil, err
		}
	}
	sleepUnlessDone(ctx, s.watch-time.Since(began))
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	took := time.Since(began)
	after, err := s.sumFigures()
	if err != nil {
		return nil, err
	}
	now, err := leads.askStatus(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the leader: %w", err)
	}
	r.Seconds = took.Seconds()
	s.countRenewals(ctx, r, leads, dead, first, took)
	r.Load = (s.loadCPU() - load).Seconds() / took.Seconds()
	r.Answered = float64(after.Answered-before.Answered) / took.Seconds()
	r.Proven = float64(after.Proven-before.Proven) / took.Seconds()
	r.Differed, r.Streams = after.Differed-before.Differed, after.Opened-before.Opened
	r.Doubted, r.Ended = after.Doubted-before.Doubted, after.Ended
	r.Terms, r.Leads = now.GetTerm()-term.GetTerm(), s.countLeaderChanges()-led
	s.mu.Lock()
	r.Slowest = toMillis(s.slowest)
	s.mu.Unlock()
	return r, profiled()
}

// nodesExcept is all nodes but a dead one.
func (s *fleetProcesses) nodesExcept(dead *nodeProcess) []*nodeProcess {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(n *nodeProcess) bool { return n == dead })
}

// countLeaderChanges is how often a node said that it leads.
func (s *fleetProcesses) countLeaderChanges() (times int) {
	for _, n := range s.nodes {
		times += n.timesLeading()
	}
	return times
}

// profileNodes profiles the CPU of nodes from now on, each into the file that file names; what it returns waits for that.
func (s *fleetProcesses) profileNodes(ctx context.Context, file func(number int) string, nodes ...*nodeProcess) func() error {
	faults := make([]error, len(nodes))
	var done sync.WaitGroup
	for i, n := range nodes {
		number := slices.Index(s.nodes, n)
		done.Go(func() { faults[i] = profileCPU(ctx, s.web[number], file(number+1), s.watch/2-time.Second) })
	}
	return func() error {
		done.Wait()
		return errors.Join(faults...)
	}
}

// nodeCPU is the CPU of each node but a dead one.
func (s *fleetProcesses) cpuOfNodes(dead *nodeProcess) []time.Duration {
	all := make([]time.Duration, len(s.nodes))
	for i, n := range s.nodes {
		if n != dead {
			all[i] = cpuOf(n.PID())
		}
	}
	return all
}

func (s *fleetProcesses) loadCPU() (sum time.Duration) {
	for _, f := range s.of {
		sum += cpuOf(f.process.Process.Pid)
	}
	return sum
}

// countRenewals fills in the nodes; what was found of a dead one stays.
func (s *fleetProcesses) countRenewals(ctx context.Context, r *renewalsReport, leads, dead *nodeProcess, first []time.Duration, took time.Duration) {
	last := s.cpuOfNodes(dead)
	old := r.Nodes
	r.Nodes, r.Cores = nil, 0
	for i, n := range s.nodes {
		if n == dead {
			old[i].Leader, old[i].Killed = false, true
			r.Nodes = append(r.Nodes, old[i])
			continue
		}
		one := renewalsNode{Leader: n == leads, Cores: (last[i] - first[i]).Seconds() / took.Seconds()}
		if u, err := readUsage(n.PID()); err == nil {
			one.RSS = u.Memory.RSS
		}
		one.Goroutines, _ = countGoroutines(ctx, s.web[i]) // 0: it did not say
		one.BytesEach = one.RSS / uint64(s.servers)
		one.GoroutinesEach = float64(one.Goroutines) / float64(s.servers)
		r.Nodes = append(r.Nodes, one)
		r.Cores += one.Cores
	}
}

func (r *renewalsReport) printReport(out io.Writer) {
	fmt.Fprintf(out, "%s\n%d game servers, %d sessions each, watched for %.0f s\n\n", r.Machine, r.Servers, r.Sessions, r.Seconds)
	for i, n := range r.Nodes {
		role := "follower"
		switch {
		case n.Killed:
			role = "leader until it was killed"
		case n.Leader:
			role = "leader"
		}
		fmt.Fprintf(out, "node %d: %.2f cores, %s (%s a game server), %d goroutines (%.1f); %s\n", i+1, n.Cores, formatSize(n.RSS), formatSize(n.BytesEach), n.Goroutines, n.GoroutinesEach, role)
	}
	fmt.Fprintf(out, "all:    %.2f cores; the game servers themselves took %.2f\n\n", r.Cores, r.Load)
	fmt.Fprintf(out, "renewals: %.0f answered a second, %.0f proven; slowest answer %.0f ms; %d named all grants\n", r.Answered, r.Proven, r.Slowest, r.Differed)
	fmt.Fprintf(out, "streams opened: %d; in doubt: %d; ended: %d; terms begun: %d, leads: %d\n", r.Streams, r.Doubted, r.Ended, r.Terms, r.Leads)
	if r.Storm > 0 {
		fmt.Fprintf(out, "kill -9 of the leader until everybody had renewed again: %.0f ms\n", r.Storm)
	}
}

// checkGoals is an error when something is wrong, and not merely slow.
func (r *renewalsReport) checkGoals() error {
	var faults []error
	if r.Ended > 0 {
		faults = append(faults, fmt.Errorf("%d game servers that renewed were ended", r.Ended))
	}
	if r.Storm == 0 && r.Doubted > 0 {
		faults = append(faults, fmt.Errorf("%d game servers were in doubt", r.Doubted))
	}
	leads := 0
	if r.Storm > 0 {
		leads = 1
	}
	if r.Leads > leads {
		faults = append(faults, fmt.Errorf("the lead changed %d times, and %d times were called for", r.Leads, leads))
	}
	return errors.Join(faults...)
}
