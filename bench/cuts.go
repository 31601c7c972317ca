package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

const (
	cutServers  = 4                      // game servers, on one host
	cutSessions = 5                      // of each
	cutSaves    = 200 * time.Millisecond // between two saves of a session
	cutLimit    = 30 * time.Second       // for a game server to save again

	cutGoal = 4 * time.Second // a game server's first save after the heal is acknowledged within this
)

// cutsOptions is what to cut, for how long, and how to tell.
type cutsOptions struct {
	lengths []time.Duration
	which   []string
	lanes   int
	program string
	asJSON  bool
}

// cutKind is a cut between hosts: those of the three nodes, 1 to 3, and that of the game servers, 4.
type cutKind struct {
	name, does string
	// apply cuts. leads is the host of the node that leads.
	apply func(f *hostSwitch, leads int)
}

const (
	firstNodeHost = 1
	lastNodeHost  = bedNodes
	serverHost    = bedNodes + 1
)

func cutKinds() []cutKind {
	between := func(host func(leads int) int, out, in bool) func(*hostSwitch, int) {
		return func(f *hostSwitch, leads int) {
			one := host(leads)
			for other := firstNodeHost; other <= serverHost; other++ {
				if other == one {
					continue
				}
				if out {
					f.cutLink(one, other)
				}
				if in {
					f.cutLink(other, one)
				}
			}
		}
	}
	servers := func(int) int { return serverHost }
	leader := func(leads int) int { return leads }
	return []cutKind{
		{"servers", "the game servers' host from every node", between(servers, true, true)},
		{"servers-out", "what the game servers send", between(servers, true, false)},
		{"servers-in", "what the nodes send to the game servers", between(servers, false, true)},
		{"leader", "the leader's host from everything", between(leader, true, true)},
		{"leader-out", "what the leader sends", between(leader, true, false)},
		{"leader-in", "what is sent to the leader", between(leader, false, true)},
	}
}

func cutsCommand() *cobra.Command {
	var c cutsOptions
	var names, described []string
	for _, k := range cutKinds() {
		names = append(names, k.name)
		described = append(described, fmt.Sprintf("  %-12s %s", k.name, k.does))
	}
	command := &cobra.Command{
		Use:   "cuts",
		Short: "measure how soon game servers save again after a network cut",
		Long: fmt.Sprintf(`cuts runs %d nodes, each on a host of its own, and %d game servers of %d sessions each on another host, cuts the
network between them, heals it, and measures for each game server how long after the heal its first save is
acknowledged. Packets are dropped; no host is told. The cuts:

%s

Hosts are network namespaces joined by a switch in this program, which takes root and /dev/net/tun; nothing of it has a
name on disk. A save that comes later than %v after the heal, or a session that is lost, makes the exit code 1.`,
			bedNodes, cutServers, cutSessions, strings.Join(described, "\n"), cutGoal),
		Example: `  go run ./bench cuts
  go run ./bench cuts --kinds servers,leader-in --lengths 8s,37s --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.measureCuts(command.Context(), os.Stdout, os.Stderr)
		},
	}
	flags := command.Flags()
	flags.DurationSliceVar(&c.lengths, "lengths", []time.Duration{2 * time.Second, 8 * time.Second, 16 * time.Second, 35 * time.Second, 50 * time.Second}, "how long to cut")
	flags.StringSliceVar(&c.which, "kinds", names, "`names` of the cuts")
	flags.IntVar(&c.lanes, "lanes", 3, "clusters that are tried side by side")
	flags.StringVar(&c.program, "program", "", "profilenode `file` to run (default: built from source)")
	flags.BoolVar(&c.asJSON, "json", false, "print one JSON object and nothing else")
	return command
}

// cutTrial is one cut, and what came of it.
type cutTrial struct {
	Kind      string          `json:"kind"`
	Length    time.Duration   `json:"length_ns"`
	Recovered []time.Duration `json:"recovered_ns"` // of each game server: from the heal to its first acknowledged save
	Lost      int             `json:"sessions_lost"`
	Dropped   uint64          `json:"packets_dropped"`
	Fault     string          `json:"fault,omitempty"` // it did not come to its end

	kind cutKind
}

func (c cutsOptions) makeTrials() (trials []*cutTrial, err error) {
	kinds := cutKinds()
	for _, name := range c.which {
		at := slices.IndexFunc(kinds, func(k cutKind) bool { return k.name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no cut %q", name)
		}
		for _, length := range c.lengths {
			trials = append(trials, &cutTrial{Kind: name, Length: length, kind: kinds[at]})
		}
	}
	if len(trials) == 0 || c.lanes < 1 {
		return nil, errors.New("give at least one length, one kind and one lane")
	}
	return trials, nil
}

func (c cutsOptions) measureCuts(ctx context.Context, out, notes io.Writer) (err error) {
	trials, err := c.makeTrials()
	if err != nil {
		return err
	}
	dir, err := makeWorkFolder(ctx, &c.program, notes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	machine, err := measureMachine(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(notes, machine)
	if err := c.runTrials(ctx, dir, trials, notes); err != nil {
		return err
	}
	if c.asJSON {
		err = json.NewEncoder(out).Encode(struct {
			Machine string      `json:"machine"`
			Trials  []*cutTrial `json:"trials"`
		}{machine, trials})
	} else {
		printCuts(out, trials)
	}
	return errors.Join(err, checkCutGoals(trials, cutGoal))
}

// runTrials tries the cuts, the longest first, on as many clusters side by side as there are lanes.
func (c cutsOptions) runTrials(ctx context.Context, dir string, trials []*cutTrial, notes io.Writer) error {
	longest := slices.SortedStableFunc(slices.Values(trials), func(a, b *cutTrial) int { return int(b.Length - a.Length) })
	next := make(chan *cutTrial, len(trials))
	for _, t := range longest {
		next <- t
	}
	close(next)
	var lanes sync.WaitGroup
	errs := make([]error, min(c.lanes, len(trials)))
	for i := range errs {
		lanes.Go(func() {
			errs[i] = runTrialsInTurn(ctx, c.program, filepath.Join(dir, fmt.Sprintf("lane-%d", i+1)), next, notes)
		})
	}
	lanes.Wait()
	return errors.Join(errs...)
}

func runTrialsInTurn(ctx context.Context, program, dir string, next <-chan *cutTrial, notes io.Writer) error {
	b, err := makeCutBed(ctx, program, dir)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	defer b.closeAll()
	for t := range next {
		if err := b.runTrial(ctx, t); err != nil {
			t.Fault = err.Error()
		}
		fmt.Fprintln(notes, t)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if t.Fault != "" { // what comes after it would measure this one's remains
			b.closeAll()
			if b, err = makeCutBed(ctx, program, dir+"+"); err != nil {
				return fmt.Errorf("set up again: %w", err)
			}
		}
	}
	return nil
}

func (t *cutTrial) String() string {
	if t.Fault != "" {
		return fmt.Sprintf("%s for %v: %s", t.Kind, t.Length, t.Fault)
	}
	return fmt.Sprintf("%s for %v: saved again after %s at the median, %s at most; %d sessions lost", t.Kind, t.Length,
		formatBrief(t.recoveryAt(0.5)), formatBrief(t.recoveryAt(1)), t.Lost)
}

func (t *cutTrial) recoveryAt(quantile float64) time.Duration {
	s := durationSamples(slices.Clone(t.Recovered))
	return s.quantile(quantile)
}

func printCuts(out io.Writer, trials []*cutTrial) {
	fmt.Fprintf(out, "\n%-12s %8s  %10s %10s  %s\n", "cut", "length", "p50", "max", "sessions lost")
	for _, t := range trials {
		if t.Fault != "" {
			fmt.Fprintf(out, "%-12s %8v  %s\n", t.Kind, t.Length, t.Fault)
			continue
		}
		fmt.Fprintf(out, "%-12s %8v  %10s %10s  %d\n", t.Kind, t.Length, formatBrief(t.recoveryAt(0.5)), formatBrief(t.recoveryAt(1)), t.Lost)
	}
	var all durationSamples
	for _, t := range trials {
		all = append(all, t.Recovered...)
	}
	fmt.Fprintf(out, "%-12s %8s  %10s %10s\n", "all", "", formatBrief(all.quantile(0.5)), formatBrief(all.quantile(1)))
}

// checkCutGoals is an error when a game server was late, a session was lost, or a cut hit nothing.
func checkCutGoals(trials []*cutTrial, goal time.Duration) error {
	var faults []error
	for _, t := range trials {
		switch {
		case t.Fault != "":
			faults = append(faults, fmt.Errorf("%s for %v: %s", t.Kind, t.Length, t.Fault))
		case t.Dropped == 0:
			faults = append(faults, fmt.Errorf("%s for %v: no packet was dropped, so nothing was cut", t.Kind, t.Length))
		case t.Lost > 0:
			faults = append(faults, fmt.Errorf("%s for %v: %d sessions were lost", t.Kind, t.Length, t.Lost))
		case t.recoveryAt(1) > goal:
			faults = append(faults, fmt.Errorf("%s for %v: a game server saved again only after %v, want %v", t.Kind, t.Length, t.recoveryAt(1), goal))
		}
	}
	return errors.Join(faults...)
}
