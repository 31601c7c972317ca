// Package takeover measures how soon a profile goes on elsewhere. docs/game-servers.md has its results.
//
// A run goes through phases, each on a bed of its own: alive.go has those in which every game server lives (message,
// handoff, steal) and the leader's failover, gone.go those in which one game server is gone (crash, stopped, lost).
// report.go prints the results.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/network"
)

const sessionCount = 100 // of each game server

// options say what to measure.
type options struct {
	rounds int // 0: each phase's own
	phases []string
	strict bool
}

// phase is one event in the life of a profile, tried a few times.
type phase struct {
	name        string
	description string
	goal        measure.Goal
	rounds      int
	limit       time.Duration // for one round
	cut         bool          // the first game server has a host of its own, whose network is cut
	run         func(ctx context.Context, t *trial) error
}

func allPhases() []phase {
	return []phase{
		{
			name: "message", description: "a message, from before it is sent until its handler is called on another game server",
			goal: measure.Goal{P50: 5 * time.Millisecond, P99: 50 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: runMessage,
		}, {
			name: "handoff", description: "a session on a profile that a living game server has, which lets go",
			goal: measure.Goal{P50: 50 * time.Millisecond, P99: 250 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: runHandOff,
		}, {
			name: "steal", description: "the same, which does not wait for its last save",
			goal: measure.Goal{P50: 50 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: runSteal,
		}, {
			name: "failover", description: "kill -9 of the leader until a save begun after it is acknowledged",
			goal: measure.Goal{P50: time.Second}, rounds: 8, limit: 40 * time.Second, run: runFailover,
		}, {
			name: "crash", description: "kill -9 of a game server until a profile of it is started elsewhere",
			goal: measure.Goal{P50: 500 * time.Millisecond, P99: 2 * time.Second}, rounds: 6, limit: time.Minute, run: runCrash,
		}, {
			name: "stopped", description: "the same after SIGSTOP",
			goal: measure.Goal{Max: testbed.Lease + 2*time.Second}, rounds: 3, limit: 2 * time.Minute, run: runStopped,
		}, {
			name: "lost", description: "the same after its network was cut",
			goal: measure.Goal{P50: 6 * time.Second, Max: 12 * time.Second}, rounds: 3, limit: 2 * time.Minute, cut: true, run: runLost,
		},
	}
}

// Command is "bench takeover".
func Command() *cobra.Command {
	var o options
	var phases strings.Builder
	for _, p := range allPhases() {
		fmt.Fprintf(&phases, "  %-9s %s\n", p.name, p.description)
	}
	command := testbed.Command(&cobra.Command{
		Use:   "takeover",
		Short: "measure how soon a profile goes on elsewhere",
		Long: fmt.Sprintf(`takeover runs %d nodes and %d game servers of %d sessions each, every one a process of its own, and measures:

%s
Each phase begins with a new cluster. The clock of all processes is this machine's monotonic one. After stopped and lost the
former owner goes on saving: each such try is counted, and none may land, or the exit code is 1.

lost needs root: it makes a network namespace and carries its packets through TUN devices of 10.232.x.0/24. Nothing of it
has a name on disk, so nothing is left, however this ends.`, testbed.NodeCount, testbed.ServerCount, sessionCount, phases.String()),
		Example: `  go run ./bench takeover --strict
  go run ./bench takeover --phases crash,lost --rounds 10 --json`,
		PreRunE: func(*cobra.Command, []string) error {
			_, err := o.choosePhases()
			return err
		},
	}, o.measure)
	flags := command.Flags()
	flags.IntVar(&o.rounds, "rounds", 0, "trials of each phase (default: so many that all takes less than 5 minutes)")
	flags.StringSliceVar(&o.phases, "phases", nil, "`names` of the phases to run (default: all)")
	flags.BoolVar(&o.strict, "strict", false, "exit with 1 also when a goal is missed")
	return command
}

// choosePhases are the phases to run.
func (o *options) choosePhases() (chosen []phase, err error) {
	if o.rounds < 0 {
		return nil, fmt.Errorf("%d rounds: it takes at least one", o.rounds)
	}
	left := slices.Clone(o.phases)
	for _, p := range allPhases() {
		if len(o.phases) > 0 && !slices.Contains(o.phases, p.name) {
			continue
		}
		left = slices.DeleteFunc(left, func(name string) bool { return name == p.name })
		if o.rounds > 0 {
			p.rounds = o.rounds
		}
		chosen = append(chosen, p)
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("there is no phase %q", left[0])
	}
	return chosen, nil
}

func (o *options) measure(ctx context.Context, r *testbed.Run) (measure.Report, error) {
	chosen, err := o.choosePhases()
	if err != nil {
		return nil, err
	}
	results := report{strict: o.strict}
	for _, p := range chosen {
		result := p.runPhase(ctx, r)
		results.phases = append(results.phases, result)
		switch {
		case ctx.Err() != nil:
			return nil, errors.New("interrupted")
		case result.skipped != "":
			fmt.Fprintf(r.Notes, "%s: skipped: %s\n", p.name, result.skipped)
		case result.fault != nil:
			fmt.Fprintf(r.Notes, "%s: %v\n", p.name, result.fault)
		}
	}
	return results, nil
}

// result is the result of a phase.
type result struct {
	phase   phase
	samples *measure.Samples
	late    testbed.LateSaves
	visible int // profiles with data of a former owner, which was not told that it landed
	skipped string
	fault   error
}

func (r *result) landed() int { return r.late.Landed + r.visible }

// trial is a phase under way.
type trial struct {
	*result
	*testbed.Bed
	round int
	taken *measure.Samples // of this round
	notes io.Writer
}

// runPhase runs a phase in bounded time. Samples from before a fault count.
func (p phase) runPhase(ctx context.Context, r *testbed.Run) *result {
	res := &result{phase: p, samples: &measure.Samples{}}
	ctx, cancel := context.WithTimeout(ctx, testbed.SetUpLimit+time.Duration(p.rounds)*p.limit)
	defer cancel()
	layout := testbed.Layout{Sessions: sessionCount}
	if p.cut {
		s, err := network.OpenSwitch(1)
		if err != nil {
			res.skipped = err.Error()
			return res
		}
		defer s.Close()
		layout.Switch, layout.ServerHosts[0] = s, 1
	}
	b, err := testbed.NewBed(ctx, r.Program, filepath.Join(r.Folder, p.name), layout)
	if err != nil {
		res.fault = err
		return res
	}
	defer b.Close()
	t := &trial{result: res, Bed: b, notes: r.Notes}
	for t.round = 1; t.round <= p.rounds && res.fault == nil; t.round++ {
		t.taken = &measure.Samples{}
		res.fault = p.run(ctx, t)
		res.samples.Add(t.taken.All()...)
		fmt.Fprintf(t.notes, "%s %d of %d: %d samples, p50 %s, max %s\n", p.name, t.round, p.rounds, t.taken.Count(),
			measure.FormatDuration(t.taken.Quantile(0.5)), measure.FormatDuration(t.taken.Quantile(1)))
	}
	return res
}

// playOn lets the game go on for a while that is in step with nothing.
func (t *trial) playOn(ctx context.Context) { measure.Sleep(ctx, 2*time.Second+rand.N(time.Second)) }
