package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// takeoverOptions is what to measure, and how to tell.
type takeoverOptions struct {
	rounds  int // 0: each phase's own
	phases  []string
	program string // profilenode; empty: built from source
	asJSON  bool
	strict  bool
	keep    bool
}

func takeoverCommand() *cobra.Command {
	var c takeoverOptions
	command := &cobra.Command{
		Use:   "takeover",
		Short: "measure how soon a profile goes on elsewhere",
		Long: fmt.Sprintf(`takeover runs %d nodes and %d game servers of %d sessions each, every one a process of its own, and measures:

%s
Each phase begins with a new cluster. Everybody's clock is this machine's monotonic one. After stopped and lost the old
owner goes on saving: each such try is counted, and none may land, or the exit code is 1.

lost wants root: it makes a network namespace and carries its packets through TUN devices of 10.231.x.0/30. Nothing of it
has a name on disk, so nothing is left, however this ends.`, bedNodes, bedServers, bedSessions, describePhases()),
		Example: `  go run ./bench takeover --strict
  go run ./bench takeover --phases crash,lost --rounds 10 --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.measureTakeover(command.Context(), os.Stdout, os.Stderr)
		},
	}
	flags := command.Flags()
	flags.IntVar(&c.rounds, "rounds", 0, "trials of each phase (default: so many that all takes less than 5 minutes)")
	flags.StringSliceVar(&c.phases, "phases", nil, "`names` of the phases to run (default: all)")
	flags.StringVar(&c.program, "program", "", "profilenode `file` to run (default: built from source)")
	flags.BoolVar(&c.asJSON, "json", false, "print one JSON object and nothing else")
	flags.BoolVar(&c.strict, "strict", false, "exit with 1 also when a goal is missed")
	flags.BoolVar(&c.keep, "keep", false, "leave data and logs, and say where")
	return command
}

// chosenPhases are the phases to run.
func (c takeoverOptions) chosenPhases() (chosen []takeoverPhase, err error) {
	if c.rounds < 0 {
		return nil, fmt.Errorf("%d rounds: it takes at least one", c.rounds)
	}
	left := slices.Clone(c.phases)
	for _, p := range takeoverPhases() {
		if len(c.phases) > 0 && !slices.Contains(c.phases, p.name) {
			continue
		}
		left = slices.DeleteFunc(left, func(name string) bool { return name == p.name })
		if c.rounds > 0 {
			p.rounds = c.rounds
		}
		chosen = append(chosen, p)
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("there is no phase %q", left[0])
	}
	return chosen, nil
}

func (c takeoverOptions) measureTakeover(ctx context.Context, out, notes io.Writer) (err error) {
	chosen, err := c.chosenPhases()
	if err != nil {
		return err
	}
	dir, err := makeWorkFolder(ctx, &c.program, notes)
	if err != nil {
		return err
	}
	if c.keep {
		fmt.Fprintf(notes, "data and logs stay in %s\n", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}

	here, err := measureMachine(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(notes, here)

	began := time.Now()
	var outcomes []phaseResult
	for _, p := range chosen {
		o := p.runPhase(ctx, c.program, filepath.Join(dir, p.name), notes)
		outcomes = append(outcomes, o)
		switch {
		case o.skipped != "":
			fmt.Fprintf(notes, "%s: skipped: %s\n", p.name, o.skipped)
		case o.fault != nil:
			fmt.Fprintf(notes, "%s: %v\n", p.name, o.fault)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	fmt.Fprintf(notes, "took %s\n", formatBrief(time.Since(began)))

	if c.asJSON {
		err = printTakeoverJSON(out, outcomes)
	} else {
		printTakeover(out, outcomes)
	}
	return errors.Join(err, c.checkGoals(outcomes))
}

// checkGoals is an error when something is wrong, and not merely slow.
func (c takeoverOptions) checkGoals(outcomes []phaseResult) error {
	var faults []error
	for _, o := range outcomes {
		if o.landed() > 0 {
			faults = append(faults, fmt.Errorf("%s: %d writes of an owner whose profile was somebody else's landed", o.phase.name, o.landed()))
		}
		if o.fault != nil {
			faults = append(faults, fmt.Errorf("%s did not come to its end", o.phase.name))
		}
		if _, met := o.phase.goal.compareWith(o.got); c.strict && !met {
			faults = append(faults, fmt.Errorf("%s missed its goal", o.phase.name))
		}
	}
	return errors.Join(faults...)
}

const folderMark = "profilenode-takeover-"

// makeWorkFolder makes the folder of a run, and builds profilenode there unless a program is given.
func makeWorkFolder(ctx context.Context, program *string, notes io.Writer) (dir string, err error) {
	removeOldFolders()
	if dir, err = os.MkdirTemp("", folderMark+strconv.Itoa(os.Getpid())+"-"); err != nil || *program != "" {
		return dir, err
	}
	fmt.Fprintln(notes, "build profilenode")
	if *program, err = nodeproc.Build(ctx, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// removeOldFolders removes what runs left behind that were killed.
func removeOldFolders() {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), folderMark+"*"))
	if err != nil {
		return
	}
	for _, dir := range left {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), folderMark), "-")
		pid, err := strconv.Atoi(number)
		if err == nil && processIsGone(pid) {
			_ = os.RemoveAll(dir) // the next run tries again
		}
	}
}
