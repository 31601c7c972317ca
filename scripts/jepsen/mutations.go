//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/internal/mutation"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
)

// mutationTrials are the flags of "jepsen mutations".
type mutationTrials struct {
	settings
	limit time.Duration
	root  string
}

// mutationResult is what became of one mutation.
type mutationResult struct {
	Mutation string  `json:"mutation"`
	Guards   string  `json:"guards"`
	Scenario string  `json:"scenario"`
	Caught   bool    `json:"caught"`
	By       string  `json:"by,omitempty"` // the first violation
	Runs     int     `json:"runs"`
	Seconds  float64 `json:"seconds"`
	Seed     uint64  `json:"seed"` // of the run that caught it
}

func mutationsCommand() *cobra.Command {
	var m mutationTrials
	command := &cobra.Command{
		Use:   "mutations [NAME...]",
		Short: "build faults into profilenode, and see them caught",
		Long: `mutations builds profilenode and its client with one fault in it for each mutation in internal/mutation that names a scenario, and
runs that scenario with one seed after the other until it is not valid. With names, those whose name holds one of them.

Exit code 1: a mutation was not caught within --limit.`,
		Example:       `  go run ./scripts/jepsen mutations "fenced token"`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, names []string) error {
			return m.run(command.Context(), names, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	m.addFlags(command.Flags())
	command.Flags().DurationVar(&m.limit, "limit", 10*time.Minute, "how long a mutation may go uncaught")
	command.Flags().StringVar(&m.root, "root", ".", "folder of the module")
	return command
}

func (m *mutationTrials) run(ctx context.Context, names []string, out, notes io.Writer) (err error) {
	if err := m.validate(); err != nil {
		return err
	}
	all, err := mutation.Read(m.root)
	if err != nil {
		return err
	}
	if m.folder == "" {
		if m.folder, err = os.MkdirTemp("", "profilenode-mutations-"); err != nil {
			return err
		}
	}
	environment, err := m.chooseEnvironment(notes)
	if err != nil {
		return err
	}
	var results []mutationResult
	missed := 0
	for _, one := range all {
		if one.Scenario == "" || !isAsked(one.String(), names) {
			continue
		}
		r, err := m.try(ctx, one, len(results), environment, notes)
		if err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
		if !r.Caught {
			missed++
		}
		results = append(results, r)
		fmt.Fprintf(notes, "%s\n", r.describe())
	}
	if len(results) == 0 {
		return errors.New("no mutation of that name has a scenario")
	}
	if m.json {
		err = writeJSON(out, results)
	} else {
		for _, r := range results {
			fmt.Fprintln(out, r.describe())
		}
	}
	if missed > 0 {
		return errors.Join(err, fmt.Errorf("%d of %d mutations were not caught", missed, len(results)))
	}
	return err
}

func isAsked(name string, asked []string) bool {
	for _, part := range asked {
		if strings.Contains(name, part) {
			return true
		}
	}
	return len(asked) == 0
}

// try builds one mutation and runs its scenario until it is caught or the limit is over.
func (m *mutationTrials) try(ctx context.Context, one mutation.Mutation, number int, e environment, notes io.Writer) (mutationResult, error) {
	r := mutationResult{Mutation: one.String(), Guards: one.Guards, Scenario: one.Scenario, Seed: m.seed}
	s := m.settings
	s.folder = filepath.Join(m.folder, fmt.Sprintf("%02d", number+1))
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return r, err
	}
	s.program, s.gameProgram = filepath.Join(s.folder, "profilenode"), filepath.Join(s.folder, "jepsen")
	if err := one.Build(m.root, s.folder, "build", "-o", s.program, "./cmd/profilenode"); err != nil {
		return r, err
	}
	if err := one.Build(m.root, s.folder, "build", "-o", s.gameProgram, "./scripts/jepsen"); err != nil {
		return r, err
	}
	for began := time.Now(); ctx.Err() == nil; r.Seed++ {
		sc, err := parseScenario(one.Scenario, e, randomOf(r.Seed))
		if err != nil {
			return r, err
		}
		if len(sc.skipped) > 0 {
			return r, fmt.Errorf("this machine cannot do %s", strings.Join(sc.skipped, ", "))
		}
		s.seed = r.Seed
		found := s.runScenario(ctx, &sc, r.Runs, "mutation", e, io.Discard)
		r.Runs++
		r.Seconds = time.Since(began).Seconds()
		if found.Validity == check.Invalid {
			r.Caught, r.By = true, found.firstFault()
			return r, nil
		}
		fmt.Fprintf(notes, "%s: %s with seed %d, after %.0f s\n", one, found.Validity, r.Seed, r.Seconds)
		if time.Since(began) > m.limit {
			return r, nil
		}
	}
	return r, ctx.Err()
}

func (r *mutationResult) describe() string {
	if !r.Caught {
		return fmt.Sprintf("NOT CAUGHT by %s in %d runs, %.0f s: %s (%s)", r.Scenario, r.Runs, r.Seconds, r.Mutation, r.Guards)
	}
	return fmt.Sprintf("caught by %s in %.0f s: %s (%s): %s", r.Scenario, r.Seconds, r.Mutation, r.Guards, r.By)
}
