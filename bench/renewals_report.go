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

// watchThem measures for as long as was asked.
func (s *fleets) watchThem(ctx context.Context, leads *node) (*renewalsReport, error) {
	r := &renewalsReport{Machine: machine(), Servers: s.servers, Sessions: s.sessions}
	before, err := s.seen()
	if err != nil {
		return nil, err
	}
	term, err := leads.status(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the leader: %w", err)
	}
	s.mu.Lock()
	s.slowest = 0
	s.mu.Unlock()
	load, led := s.loadCPU(), s.led()
	first := s.use(nil)
	began := time.Now()
	half := s.watch / 2
	profiled := func() error { return nil }
	if s.profile != "" && !s.killLeader {
		profiled = s.profileThem(ctx, func(int) string { return s.profile }, leads)
	}
	pause(ctx, half)
	var dead *node
	if s.killLeader {
		dead = leads
		s.count(ctx, r, leads, nil, first, time.Since(began)) // what the leader was, while it was
		fell := thisMoment()
		leads.kill()
		if s.profile != "" {
			profiled = s.profileThem(ctx, func(number int) string { return fmt.Sprint(s.profile, ".", number) }, s.but(dead)...)
		}
		fmt.Fprintln(s.notes, "killed the leader")
		if err := s.await(ctx, func(l fleetLine) bool { return l.Oldest > fell }); err != nil {
			return nil, err
		}
		l, _ := s.seen()
		r.Storm = ms(l.At.since(fell))
		fmt.Fprintf(s.notes, "everybody renews again after %s\n", brief(l.At.since(fell)))
		if leads, err = leader(ctx, s.but(dead)); err != nil {
			return nil, err
		}
	}
	pause(ctx, s.watch-time.Since(began))
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	took := time.Since(began)
	after, err := s.seen()
	if err != nil {
		return nil, err
	}
	now, err := leads.status(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the leader: %w", err)
	}
	r.Seconds = took.Seconds()
	s.count(ctx, r, leads, dead, first, took)
	r.Load = (s.loadCPU() - load).Seconds() / took.Seconds()
	r.Answered = float64(after.Answered-before.Answered) / took.Seconds()
	r.Proven = float64(after.Proven-before.Proven) / took.Seconds()
	r.Differed, r.Streams = after.Differed-before.Differed, after.Opened-before.Opened
	r.Doubted, r.Ended = after.Doubted-before.Doubted, after.Ended
	r.Terms, r.Leads = now.GetTerm()-term.GetTerm(), s.led()-led
	s.mu.Lock()
	r.Slowest = ms(s.slowest)
	s.mu.Unlock()
	return r, profiled()
}

// but is all nodes but a dead one.
func (s *fleets) but(dead *node) []*node {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(n *node) bool { return n == dead })
}

// led is how often a node said that it leads.
func (s *fleets) led() (times int) {
	for _, n := range s.nodes {
		times += n.led()
	}
	return times
}

// profileThem profiles the CPU of nodes from now on, each into the file that file names; what it returns waits for that.
func (s *fleets) profileThem(ctx context.Context, file func(number int) string, nodes ...*node) func() error {
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

// use is the CPU of each node but a dead one.
func (s *fleets) use(dead *node) []time.Duration {
	all := make([]time.Duration, len(s.nodes))
	for i, n := range s.nodes {
		if n != dead {
			all[i] = cpuOf(n.pid())
		}
	}
	return all
}

func (s *fleets) loadCPU() (sum time.Duration) {
	for _, f := range s.of {
		sum += cpuOf(f.process.Process.Pid)
	}
	return sum
}

// count fills in the nodes; what was found of a dead one stays.
func (s *fleets) count(ctx context.Context, r *renewalsReport, leads, dead *node, first []time.Duration, took time.Duration) {
	last := s.use(dead)
	old := r.Nodes
	r.Nodes, r.Cores = nil, 0
	for i, n := range s.nodes {
		if n == dead {
			old[i].Leader, old[i].Killed = false, true
			r.Nodes = append(r.Nodes, old[i])
			continue
		}
		one := renewalsNode{Leader: n == leads, Cores: (last[i] - first[i]).Seconds() / took.Seconds()}
		if u, err := n.usage(); err == nil {
			one.RSS = u.Memory.RSS
		}
		one.Goroutines, _ = goroutines(ctx, s.web[i]) // 0: it did not say
		one.BytesEach = one.RSS / uint64(s.servers)
		one.GoroutinesEach = float64(one.Goroutines) / float64(s.servers)
		r.Nodes = append(r.Nodes, one)
		r.Cores += one.Cores
	}
}

func (r *renewalsReport) print(out io.Writer) {
	fmt.Fprintf(out, "%s\n%d game servers, %d sessions each, watched for %.0f s\n\n", r.Machine, r.Servers, r.Sessions, r.Seconds)
	for i, n := range r.Nodes {
		role := "follower"
		switch {
		case n.Killed:
			role = "leader until it was killed"
		case n.Leader:
			role = "leader"
		}
		fmt.Fprintf(out, "node %d: %.2f cores, %s (%s a game server), %d goroutines (%.1f); %s\n", i+1, n.Cores, size(n.RSS), size(n.BytesEach), n.Goroutines, n.GoroutinesEach, role)
	}
	fmt.Fprintf(out, "all:    %.2f cores; the game servers themselves took %.2f\n\n", r.Cores, r.Load)
	fmt.Fprintf(out, "renewals: %.0f answered a second, %.0f proven; slowest answer %.0f ms; %d named all grants\n", r.Answered, r.Proven, r.Slowest, r.Differed)
	fmt.Fprintf(out, "streams opened: %d; in doubt: %d; ended: %d; terms begun: %d, leads: %d\n", r.Streams, r.Doubted, r.Ended, r.Terms, r.Leads)
	if r.Storm > 0 {
		fmt.Fprintf(out, "kill -9 of the leader until everybody had renewed again: %.0f ms\n", r.Storm)
	}
}

// verdict is an error when something is wrong, and not merely slow.
func (r *renewalsReport) verdict() error {
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
