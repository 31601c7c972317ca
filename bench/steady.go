package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/api/profilev1"
)

// steadyOptions is a while in which nothing dies, and nothing may be taken for dead.
type steadyOptions struct {
	lasts     time.Duration
	loss      int // percent
	cutGossip bool
	busy      bool
	program   string
	asJSON    bool
}

const (
	// What is cut is healed for the rest of each minute, since nodes forget who has seemed dead for a minute.
	cutFor, cutEvery = 50 * time.Second, time.Minute

	steadyLook = 250 * time.Millisecond
	steadyTell = 10 * time.Second
	steadyRise = time.Minute // for gossip to find everybody
)

func steadyCommand() *cobra.Command {
	var c steadyOptions
	command := &cobra.Command{
		Use:   "steady",
		Short: "count the living who are taken for dead",
		Long: fmt.Sprintf(`steady runs %d nodes and %d game servers of %d sessions each, every one a process of its own, hurts their network, and
counts what that costs those who live: sessions lost, doubts, verdicts. A session lost, an incarnation ended or a verdict
makes the exit code 1; so does a fault that hit nothing.

The game servers live in a network namespace; this program carries their packets from and to the nodes, and loses some:
--loss N is N %% of all UDP packets; --cut-gossip is every packet, UDP and TCP, between the nodes and the game
servers on their ports for gossip, for %v of each %v. It takes root and /dev/net/tun. Nothing of it has a name on disk.`, bedNodes, bedServers, bedSessions, cutFor, cutEvery),
		Example: `  go run ./bench steady --for 10m --loss 10 --busy
  go run ./bench steady --for 10m --cut-gossip --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.measureSteady(command.Context(), os.Stdout, os.Stderr)
		},
	}
	flags := command.Flags()
	flags.DurationVar(&c.lasts, "for", 10*time.Minute, "how long")
	flags.IntVar(&c.loss, "loss", 0, "lose this `percentage` of UDP packets")
	flags.BoolVar(&c.cutGossip, "cut-gossip", false, "cut the nodes off from game servers' gossip, and nothing else")
	flags.BoolVar(&c.busy, "busy", false, "keep every core busy with something else")
	flags.StringVar(&c.program, "program", "", "profilenode `file` to run (default: built from source)")
	flags.BoolVar(&c.asJSON, "json", false, "print one JSON object and nothing else")
	return command
}

// steadyReport is what came of it.
type steadyReport struct {
	Machine   string  `json:"machine"`
	Seconds   float64 `json:"seconds"`
	Loss      int     `json:"loss_percent"`
	CutGossip bool    `json:"cut_gossip"`
	Busy      bool    `json:"busy"`
	Sessions  int     `json:"sessions"` // that were opened

	tryCounts
	Ended    int      `json:"incarnations_ended"`
	Verdicts []string `json:"verdicts"`

	Accused int     `json:"accused"`        // times that gossip at the leader came to say dead of a game server
	Dead    float64 `json:"dead_seconds"`   // that it said so for, all of them together
	Silent  float64 `json:"silent_seconds"` // the longest that the leader did not hear one of them
	Unled   float64 `json:"unled_seconds"`  // without a leader that answers
	Leads   int     `json:"leads"`          // terms that were seen
	Packets uint64  `json:"packets_lost"`
}

func (c steadyOptions) measureSteady(ctx context.Context, out, notes io.Writer) (err error) {
	if c.loss < 0 || c.loss > 99 || c.lasts < 10*time.Second {
		return errors.New("give --loss 0 to 99, and --for 10s or more")
	}
	dir, err := makeWorkFolder(ctx, &c.program, notes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := openNetLink()
	if err != nil {
		return err
	}
	defer l.closeLink()
	if c.busy {
		stop, err := keepBusy()
		if err != nil {
			return err
		}
		defer stop()
	}
	r := steadyReport{Loss: c.loss, CutGossip: c.cutGossip, Busy: c.busy, Sessions: bedServers * bedSessions}
	if r.Machine, err = measureMachine(dir); err != nil {
		return err
	}
	fmt.Fprintln(notes, r.Machine)
	setUp, cancel := context.WithTimeout(ctx, setUpLimit)
	defer cancel()
	b, err := makeTestBed(setUp, c.program, filepath.Join(dir, "bed"), l, bedServers)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	defer b.closeAll()
	if err := b.waitUntilAllHeard(ctx); err != nil {
		return err
	}
	fmt.Fprintln(notes, "gossip knows everybody: it begins")
	if err := c.watchDetector(ctx, b, &r, notes); err != nil {
		return err
	}
	if c.asJSON {
		err = json.NewEncoder(out).Encode(r)
	} else {
		r.printReport(out)
	}
	return errors.Join(err, r.checkGoals())
}

// waitUntilAllHeard waits until every game server seems alive to the leader's gossip: from then on it can seem dead.
func (b *testBed) waitUntilAllHeard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, steadyRise)
	defer cancel()
	for {
		servers, _ := b.knownServers(ctx)
		alive := 0
		for _, s := range servers {
			if s.GetGossip() == "alive" {
				alive++
			}
		}
		if alive == bedServers {
			return nil
		}
		if sleepUnlessDone(ctx, steadyLook); ctx.Err() != nil {
			return fmt.Errorf("gossip knows %d of %d game servers", alive, bedServers)
		}
	}
}

// knownServers are the game servers as the node that leads knows them.
func (b *testBed) knownServers(ctx context.Context) (servers []*profilev1.Server, term uint64) {
	for _, n := range b.nodes {
		try, cancel := context.WithTimeout(ctx, time.Second)
		s, err := profilev1.NewClusterClient(n.conn).Status(try, &profilev1.StatusRequest{})
		if err == nil && s.GetState() == "leader" {
			reply, err := profilev1.NewClusterClient(n.conn).Servers(try, &profilev1.ServersRequest{})
			if cancel(); err == nil {
				return reply.GetServers(), s.GetTerm()
			}
			continue
		}
		cancel()
	}
	return nil, 0
}

// watchDetector hurts the network, and looks.
func (c steadyOptions) watchDetector(ctx context.Context, b *testBed, r *steadyReport, notes io.Writer) error {
	began := time.Now()
	last, told := began, began
	dead, terms := map[uint64]bool{}, map[uint64]bool{}
	for time.Since(began) < c.lasts {
		b.link.dropPackets(c.dropRandomly(b, time.Since(began)))
		sleepUnlessDone(ctx, steadyLook)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		servers, term := b.knownServers(ctx)
		passed := time.Since(last).Seconds()
		last = time.Now()
		if servers == nil {
			r.Unled += passed
			continue
		}
		terms[term] = true
		r.Leads = len(terms)
		r.noteServers(servers, dead, passed)
		if time.Since(told) >= steadyTell {
			told = time.Now()
			if err := r.countExpired(ctx, b); err != nil {
				return err
			}
			fmt.Fprintf(notes, "%v of %v: %d of %d sessions held, %d lost, %d doubts, %d verdicts; accused %d times; silent for %.1f s at most\n",
				time.Since(began).Round(time.Second), c.lasts, r.Held, r.Sessions, r.Lost, r.Doubts, len(r.Verdicts), r.Accused, r.Silent)
		}
	}
	b.link.dropPackets(nil)
	sleepUnlessDone(ctx, 2*lease) // a verdict may be on its way
	servers, _ := b.knownServers(ctx)
	r.noteServers(servers, dead, 0)
	r.Seconds = time.Since(began).Seconds()
	return r.countExpired(ctx, b)
}

// dropRandomly is what is lost at a moment of the run.
func (c steadyOptions) dropRandomly(b *testBed, at time.Duration) func(packet []byte) bool {
	switch {
	case c.cutGossip && at%cutEvery < cutFor:
		return dropPorts(b.rumours)
	case c.loss > 0:
		return dropUDP(c.loss)
	}
	return nil
}

// noteServers takes down how the game servers stand.
func (r *steadyReport) noteServers(servers []*profilev1.Server, dead map[uint64]bool, passed float64) {
	ended := 0
	for _, s := range servers {
		if s.GetKind() != profilev1.ServerKind_SERVER_KIND_GAME_SERVER {
			continue
		}
		if !s.GetAlive() {
			ended++
			continue
		}
		now := s.GetGossip() == "dead"
		if now && !dead[s.GetIncarnation()] {
			r.Accused++
		}
		if dead[s.GetIncarnation()] = now; now {
			r.Dead += passed
		}
		r.Silent = max(r.Silent, float64(s.GetSilentMs())/1000)
	}
	r.Ended = max(r.Ended, ended)
}

// countExpired asks every game server.
func (r *steadyReport) countExpired(ctx context.Context, b *testBed) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r.tryCounts, r.Verdicts = tryCounts{}, nil
	for _, s := range b.servers {
		all, err := s.orderAndWait(ctx, botOrder{Do: doCount})
		if err != nil {
			return err
		}
		r.addCounts(all[0].Count)
	}
	for _, n := range b.nodes {
		r.Verdicts = append(r.Verdicts, n.expiredServers()...)
	}
	r.Packets = b.link.countDropped()
	return nil
}

func (r *steadyReport) printReport(out io.Writer) {
	fmt.Fprintf(out, "\n%.0f s, %d %% of UDP lost, gossip cut: %v, cores kept busy: %v\n", r.Seconds, r.Loss, r.CutGossip, r.Busy)
	for _, line := range []struct {
		what string
		is   any
	}{
		{"sessions held, of " + strconv.Itoa(r.Sessions), r.Held}, {"sessions lost", r.Lost}, {"incarnations ended", r.Ended},
		{"verdicts", len(r.Verdicts)}, {"doubts", r.Doubts}, {"times gossip said dead of the living", r.Accused},
		{"seconds that it said so", fmt.Sprintf("%.1f", r.Dead)}, {"longest silence, s", fmt.Sprintf("%.2f", r.Silent)},
		{"seconds without a leader", fmt.Sprintf("%.1f", r.Unled)}, {"leads", r.Leads}, {"packets lost", r.Packets},
	} {
		fmt.Fprintf(out, "  %-38s %v\n", line.what, line.is)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintf(out, "  %s\n", v)
	}
}

// checkGoals is an error when the living lost anything, or when the network was not hurt as it should have been.
func (r *steadyReport) checkGoals() error {
	var faults []error
	if r.Lost+r.Ended+len(r.Verdicts) > 0 || r.Held != r.Sessions {
		faults = append(faults, fmt.Errorf("the living lost %d sessions and %d incarnations, by %d verdicts", r.Lost, r.Ended, len(r.Verdicts)))
	}
	if (r.Loss > 0 || r.CutGossip) && r.Packets == 0 {
		faults = append(faults, errors.New("not one packet was lost: the fault hit nothing"))
	}
	if r.CutGossip && r.Accused < bedServers {
		faults = append(faults, fmt.Errorf("gossip was cut, and came to say dead %d times only: the fault hit nothing", r.Accused))
	}
	return errors.Join(faults...)
}
