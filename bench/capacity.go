package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

const storeName = "fill"

// capacityOptions is what to measure.
type capacityOptions struct {
	nodes    int
	profiles uint64
	small    uint64 // profiles of the cluster that is compared with
	from     uint64 // profiles that the folder holds already
	bytes    int
	parallel int

	sessions int
	rounds   int
	each     time.Duration // of one round
	rate     float64       // saves a second while snapshots are taken, and while a node catches up
	watch    time.Duration // how long that is watched
	every    string        // bytes of log after which the node takes a snapshot then

	dir    string
	binary string
	flags  []string
	out    string
	keep   bool
}

func capacityCommand() *cobra.Command {
	var c capacityOptions
	command := &cobra.Command{
		Use:   "capacity",
		Short: "measure what many profiles cost",
		Long: `capacity starts nodes of its own on loopback, fills them, and measures memory, disk, the time until a restarted node
answers, the cost of a save compared with a cluster of few profiles that is asked in turn, saves while snapshots are taken,
and, with three nodes or more, saves while an emptied node catches up. It ends what it started, and deletes its folder
unless --keep is given.`,
		Example: `  go run ./bench capacity --profiles 10000000 --nodes 1 --dir /tmp/capacity
  go run ./bench capacity --profiles 1000000 --nodes 3 --dir /tmp/capacity`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.measureCapacity(command.Context(), os.Stdout, os.Stderr)
		},
	}
	flags := command.Flags()
	flags.IntVar(&c.nodes, "nodes", 1, "nodes of the cluster")
	flags.Uint64Var(&c.profiles, "profiles", 1_000_000, "profiles to fill in")
	flags.Uint64Var(&c.small, "small", 100_000, "profiles of the cluster to compare the cost of a save with; 0: do not")
	flags.Uint64Var(&c.from, "from", 0, "profiles that --dir holds already, from a run with --keep")
	flags.IntVar(&c.bytes, "bytes", 2048, "bytes of a profile")
	flags.IntVar(&c.parallel, "parallel", 256, "profiles set at once while filling")
	flags.IntVar(&c.sessions, "sessions", 2000, "sessions, on random profiles, that are saved")
	flags.IntVar(&c.rounds, "rounds", 3, "rounds of the comparison; their medians count")
	flags.DurationVar(&c.each, "each", 10*time.Second, "how long one round lasts")
	flags.Float64Var(&c.rate, "rate", 500, "saves a second while snapshots are taken and while a node catches up")
	flags.DurationVar(&c.watch, "watch", time.Minute, "how long saves are watched with and without snapshots")
	flags.StringVar(&c.every, "snapshot-bytes", "8MiB", "log after which a snapshot is taken while that is watched")
	flags.StringVar(&c.dir, "dir", "", "`folder` for the nodes' data, made if need be")
	flags.StringVar(&c.binary, "binary", "", "profilenode to run (default: built from these sources)")
	flags.StringArrayVar(&c.flags, "serve-flag", nil, "another `flag` for profilenode serve, such as --trailing-bytes=64MiB")
	flags.StringVar(&c.out, "out", "", "`file` for the report as JSON")
	flags.BoolVar(&c.keep, "keep", false, "leave the folder")
	if err := command.MarkFlagRequired("dir"); err != nil {
		panic(err)
	}
	return command
}

// measureCapacity measures, and says what came of it also when it could not be finished.
func (c capacityOptions) measureCapacity(ctx context.Context, out, notes io.Writer) (err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if c.binary == "" {
		if c.binary, err = nodeproc.Build(ctx, c.dir); err != nil {
			return err
		}
	}
	m := &capacityRun{capacityOptions: c, notes: notes, began: time.Now()}
	m.report = capacityReport{
		Machine: describeMachine(), Command: strings.Join(os.Args[1:], " "), At: m.began.UTC().Format(time.RFC3339),
		Nodes: c.nodes, Profiles: c.profiles, Bytes: c.bytes,
	}
	defer func() {
		m.stopNodes()
		err = errors.Join(err, c.writeReport(&m.report, out))
		if !c.keep {
			for _, made := range m.folders {
				err = errors.Join(err, os.RemoveAll(made))
			}
		}
	}()
	for _, step := range []func(context.Context) error{m.startFilledNodes, m.measureFill, m.measureResting, m.measureRestart, m.compareCosts, m.measureSnapshots, m.measureCatchUp} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c capacityOptions) writeReport(r *capacityReport, out io.Writer) error {
	r.printReport(out)
	if c.out == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.out, append(text, '\n'), 0o600)
}

// capacityRun is a run under way.
type capacityRun struct {
	capacityOptions
	notes   io.Writer
	began   time.Time
	report  capacityReport
	large   []*nodeProcess
	few     []*nodeProcess // the cluster to compare with; its processes run only while that is done
	folders []string       // that this run made, or took over
	seed    uint64
}

func (m *capacityRun) logProgress(format string, args ...any) {
	fmt.Fprintf(m.notes, "%6.0f s  %s\n", time.Since(m.began).Seconds(), fmt.Sprintf(format, args...))
}

// stopNodes ends every process that was started.
func (m *capacityRun) stopNodes() {
	closeNodes(m.large)
	closeNodes(m.few)
}

// startFilledNodes fills the cluster to compare with, and stops it.
func (m *capacityRun) startFilledNodes(ctx context.Context) (err error) {
	m.folders = append(m.folders, filepath.Join(m.dir, "large"), filepath.Join(m.dir, "small"))
	if m.large, err = newNodes(m.binary, m.folders[0], m.nodes); err != nil {
		return err
	}
	if m.small == 0 {
		return nil
	}
	if err := os.RemoveAll(m.folders[1]); err != nil {
		return err
	}
	if m.few, err = newNodes(m.binary, m.folders[1], m.nodes); err != nil {
		return err
	}
	m.logProgress("fill the cluster to compare with: %d profiles", m.small)
	if err := m.startAll(ctx, m.few); err != nil {
		return err
	}
	if _, err := fillProfiles(ctx, m.fillOptions(m.few, m.small, 0), &progressLog{to: m.notes}); err != nil {
		return err
	}
	return stopAll(m.few)
}

func (m *capacityRun) fillOptions(nodes []*nodeProcess, profiles, from uint64) fillOptions {
	return fillOptions{client: client.Config{Seeds: clientsOf(nodes)}, store: storeName, from: from, profiles: profiles, bytes: m.bytes, parallel: m.parallel}
}

// startAll starts nodes and waits until one of them leads.
func (m *capacityRun) startAll(ctx context.Context, nodes []*nodeProcess, flags ...string) error {
	for _, n := range nodes {
		if err := n.Start(append(m.flags[:len(m.flags):len(m.flags)], flags...)...); err != nil {
			return err
		}
	}
	_, err := findLeader(ctx, nodes)
	return err
}

func stopAll(nodes []*nodeProcess) error {
	var faults []error
	for _, n := range nodes {
		faults = append(faults, n.Stop(time.Minute))
	}
	return errors.Join(faults...)
}

func clientsOf(nodes []*nodeProcess) []string {
	addresses := make([]string, len(nodes))
	for i, n := range nodes {
		addresses[i] = n.Addresses.Clients
	}
	return addresses
}

// findLeader waits until a node leads, and answers.
func findLeader(ctx context.Context, nodes []*nodeProcess) (*nodeProcess, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		for _, n := range nodes {
			select {
			case <-n.Ended():
				return nil, fmt.Errorf("a node ended:\n%s", n.LastLines())
			default:
			}
			if s, err := n.askStatus(ctx); err == nil && s.GetState() == "leader" {
				return n, n.waitForAnswer(ctx, storeName, profileKey(0), false)
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for a leader: %w", ctx.Err())
		}
		sleepUnlessDone(ctx, 50*time.Millisecond)
	}
}
