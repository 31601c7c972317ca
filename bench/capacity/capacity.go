// Package capacity measures the cost of many profiles: memory, disk, restart, snapshots, the time of a save.
// docs/capacity.md has its results.
//
// A run goes through the steps that measure lists (steps.go: fill, rest, restart, and an emptied node that catches up;
// saves.go: the cost of saves, and saves beside snapshots). report.go has their figures.
package capacity

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

	"github.com/profilenode/profilenode/bench/fill"
	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/client"
)

const (
	storeName = "fill"
	stopLimit = time.Minute // for nodes to end in order

	snapshotEvery = "8MiB" // of log, while saves are watched beside snapshots
)

// options say what to measure.
type options struct {
	nodes    int
	profiles uint64
	small    uint64 // profiles of the cluster to compare with
	from     uint64 // profiles that the folder holds already
	bytes    int

	sessions int
	rounds   int
	each     time.Duration // of one round
	rate     float64       // saves a second beside snapshots, and while a node catches up
	watch    time.Duration // how long saves are watched beside snapshots

	folder string
}

// Command is "bench capacity".
func Command() *cobra.Command {
	var o options
	command := testbed.Command(&cobra.Command{
		Use:   "capacity",
		Short: "measure the cost of many profiles",
		Long: `capacity starts nodes of its own on loopback, fills them, and measures memory, disk, the time until a restarted node
answers, the cost of a save compared with a cluster of few profiles that is asked in turn, saves while snapshots are taken,
and, with three nodes or more, saves while an emptied node catches up. It ends the processes that it started, and deletes
its folder unless --keep is given.`,
		Example: `  go run ./bench capacity --profiles 10000000 --nodes 1 --dir /tmp/capacity
  go run ./bench capacity --profiles 1000000 --nodes 3 --dir /tmp/capacity --json`,
	}, o.run)
	flags := command.Flags()
	flags.IntVar(&o.nodes, "nodes", 1, "nodes of the cluster")
	flags.Uint64Var(&o.profiles, "profiles", 1_000_000, "profiles to fill in")
	flags.Uint64Var(&o.small, "small", 100_000, "profiles of the cluster to compare the cost of a save with; 0: do not")
	flags.Uint64Var(&o.from, "from", 0, "profiles that --dir holds already, from a run with --keep")
	flags.IntVar(&o.bytes, "bytes", 2048, "bytes of a profile")
	flags.IntVar(&o.sessions, "sessions", 2000, "sessions, on random profiles, that are saved")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of the comparison; their medians count")
	flags.DurationVar(&o.each, "each", 10*time.Second, "how long one round lasts")
	flags.Float64Var(&o.rate, "rate", 500, "saves a second while snapshots are taken and while a node catches up")
	flags.DurationVar(&o.watch, "watch", time.Minute, "how long saves are watched with and without snapshots")
	flags.StringVar(&o.folder, "dir", "", "`folder` for the nodes' data, made if need be")
	if err := command.MarkFlagRequired("dir"); err != nil {
		panic(err)
	}
	return command
}

// run measures, and returns figures also when it could not go through all steps.
func (o *options) run(ctx context.Context, t *testbed.Run) (measure.Report, error) {
	r := &run{options: *o, program: t.Program, notes: t.Notes, began: time.Now()}
	r.report = report{
		Machine: measure.DescribeMachine(), Command: strings.Join(os.Args[1:], " "), At: r.began.UTC().Format(time.RFC3339),
		Nodes: o.nodes, Profiles: o.profiles, Bytes: o.bytes,
	}
	err := r.measure(ctx)
	r.large.Close()
	r.few.Close()
	if !t.Keep {
		err = errors.Join(err, os.RemoveAll(r.folderOf("large")), os.RemoveAll(r.folderOf("small")))
	}
	return &r.report, err
}

// run is a run under way.
type run struct {
	options
	program string // profilenode
	notes   io.Writer
	began   time.Time
	report  report
	large   *testbed.Cluster
	few     *testbed.Cluster // to compare with; it runs only for that; nil: none
	seed    uint64           // of the last load
}

func (r *run) measure(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		r.fillFew, r.fillLarge, r.measureResting, r.measureRestarts, r.compareCosts, r.measureSnapshots, r.measureCatchUp,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) folderOf(cluster string) string { return filepath.Join(r.folder, cluster) }

func (r *run) logProgress(format string, arguments ...any) {
	fmt.Fprintf(r.notes, "%6.0f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, arguments...))
}

func (r *run) fillOptions(c *testbed.Cluster, profiles, from uint64) fill.Options {
	return fill.Options{
		Client: client.Config{Seeds: c.Clients()}, Store: storeName, From: from, Profiles: profiles, Bytes: r.bytes, Parallel: 256,
		Progress: r.notes, Every: 15 * time.Second,
	}
}

// openLoad opens sessions on random profiles of a cluster.
func (r *run) openLoad(ctx context.Context, c *testbed.Cluster) (*load.Saves, error) {
	r.seed++
	profiles := r.profiles
	if c == r.few {
		profiles = r.small
	}
	l, err := load.Open(ctx, client.Config{Seeds: c.Clients(), Where: "bench capacity", Autosave: -1}, storeName, r.bytes, r.seed)
	if err != nil {
		return nil, err
	}
	if err := l.StartRandomSessions(ctx, r.sessions, profiles); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// waitUntilCalm waits until the nodes are busy with nothing but each other, and at most five minutes.
func (r *run) waitUntilCalm(ctx context.Context, c *testbed.Cluster) {
	const look, quiet = time.Second, 5
	for left, calm := 300, 0; left > 0 && calm < quiet && ctx.Err() == nil; left-- {
		before, err := c.Usages()
		if err != nil {
			return
		}
		measure.Sleep(ctx, look)
		calm++
		for i, u := range usagesSince(c, before) {
			if u.CPU-before[i].CPU > look/8 {
				calm = 0
			}
		}
	}
}

// usagesSince are the usages now, or those before if a process has ended.
func usagesSince(c *testbed.Cluster, before []measure.Usage) []measure.Usage {
	now, err := c.Usages()
	if err != nil {
		return before
	}
	return now
}
