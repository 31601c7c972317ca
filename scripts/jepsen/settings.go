//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/profilenode/profilenode/internal/nodeproc"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

// settings are the flags of a run.
type settings struct {
	seed               uint64
	time               time.Duration
	nodes, gameServers int
	list, json, quick  bool
	environment        string
	requireAll         bool
	program, folder    string
	gameProgram        string // of the game servers; empty: this one
	keep               bool
}

func (s *settings) addFlags(flags *pflag.FlagSet) {
	flags.Uint64Var(&s.seed, "seed", 0, "of everything that is chosen by chance; 0: from the clock, and printed")
	flags.DurationVar(&s.time, "time", 45*time.Second, "how long each scenario injects faults")
	flags.IntVar(&s.nodes, "nodes", 3, "nodes of the cluster")
	flags.IntVar(&s.gameServers, "game-servers", 3, "game servers")
	flags.BoolVar(&s.list, "list", false, "print workloads and nemeses, what each does and which counter shows its effect, and stop")
	flags.BoolVar(&s.json, "json", false, "print one JSON object and nothing else on stdout")
	flags.BoolVar(&s.quick, "quick", false, "the scenarios of the quick run, which changes with the date")
	flags.StringVar(&s.environment, "environment", "auto", "hosts (needs root), loopback, or auto: hosts where that is possible")
	flags.BoolVar(&s.requireAll, "require-all", false, "a fault that this machine cannot do is a failure, and not skipped")
	flags.StringVar(&s.program, "program", "", "a profilenode that is built already; a build with a fault in it, for example")
	flags.StringVar(&s.folder, "folder", "", "where histories, logs and reports go (default: a new folder in the system's one for such)")
	flags.BoolVar(&s.keep, "keep", false, "keep everything of valid runs, too")
}

// validate refuses runs that the faults cannot be injected into: most of them take a majority and a node beside it.
func (s *settings) validate() error {
	switch {
	case s.nodes < 3:
		return fmt.Errorf("give --nodes 3 or more, and not %d", s.nodes)
	case s.gameServers < 1:
		return errors.New("give --game-servers 1 or more")
	case s.time < time.Second:
		return errors.New("give --time 1s or more")
	}
	return nil
}

const defaultScenario = "play/mixed"

func (s *settings) run(ctx context.Context, arguments []string, out, notes io.Writer) error {
	if s.list {
		return s.writeList(out)
	}
	if err := s.validate(); err != nil {
		return err
	}
	environment, err := s.chooseEnvironment(notes)
	if err != nil {
		return err
	}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	if s.quick {
		arguments = append(arguments, quickScenarios(time.Now())...)
	}
	if len(arguments) == 0 {
		arguments = []string{defaultScenario}
	}
	var scenarios []scenario
	for i, name := range arguments {
		sc, err := parseScenario(name, environment, randomOf(s.seed+uint64(i)))
		if err != nil {
			return err
		}
		scenarios = append(scenarios, sc)
	}
	commit := findCommit()
	fmt.Fprintf(notes, "seed %d, commit %s, environment %s, %d scenarios of %v\n", s.seed, commit, environment.name, len(scenarios), s.time)
	if s.folder == "" {
		if s.folder, err = os.MkdirTemp("", "profilenode-jepsen-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return err
	}
	if s.program == "" {
		fmt.Fprintln(notes, "building profilenode")
		if s.program, err = nodeproc.Build(ctx, s.folder); err != nil {
			return err
		}
	}
	result := &runResult{Seed: s.seed, Commit: commit, Environment: environment.name, Folder: s.folder, Skipped: environment.skipped}
	for i := range scenarios {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one := s.runScenario(ctx, &scenarios[i], i, commit, environment, notes)
		result.Scenarios = append(result.Scenarios, one)
		one.writeLine(notes)
	}
	result.Valid = result.isValid(s.requireAll)
	return result.write(out, s.json, s.requireAll)
}

// findCommit is the commit that the sources are at, with a mark if they differ from it.
func findCommit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	commit := strings.TrimSpace(string(out))
	if changed, err := exec.Command("git", "status", "--porcelain").Output(); err == nil && len(changed) > 0 {
		commit += "+changes"
	}
	return commit
}

// settingsOf are the settings of a bed for a scenario.
func (s *settings) settingsOf(sc *scenario, number int, e environment) bed.Settings {
	return bed.Settings{
		Program: s.program, GameProgram: s.gameProgram, Folder: filepath.Join(s.folder, fmt.Sprintf("%02d-%s", number+1, strings.ReplaceAll(sc.name, "/", "-"))),
		Nodes: s.nodes, GameServers: s.gameServers, Workload: sc.workload, Seed: s.seed + uint64(number)*1_000_003, Hosts: e.can.Hosts, Disks: e.can.Disks,
	}
}

func randomOf(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
