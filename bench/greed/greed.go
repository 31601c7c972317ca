// Package greed measures whether a client that takes what it can of the nodes harms the game servers beside it. greed.go
// measures, and greedy.go is the greedy client.
package greed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/groups"
)

const (
	sessionCount = 1000 // of the game server
	saveRate     = 200  // of its saves a second, together
	saveBytes    = 4096 // of each

	share       = 0.3             // of a processor, for the greedy client and for the busy loop in its place
	goal        = 2.0             // p99 beside the greedy client, as a multiple of that beside the busy loop
	mostMemory  = 600 << 20       // bytes of a node's process
	returnLimit = 2 * time.Minute // in which everything that was taken is given back
)

// Command is "bench greed".
func Command() *cobra.Command {
	var each time.Duration
	command := testbed.Command(&cobra.Command{
		Use:   "greed",
		Short: "measure whether a greedy client harms the game servers beside it",
		Long: fmt.Sprintf(`greed runs %d nodes and one game server with %d sessions that save %d times a second together. Beside them runs a
client that opens connections without end, begins calls that it never finishes, gives reads up at random, and registers game
servers in a loop; before that, a busy loop. Both may use %.1f of a processor.

A save that is not acknowledged, a p99 of more than %.1f times that beside the busy loop, a node that uses more than %d MiB, or
anything that is not given back within %v makes the exit code 1. It needs root, for a control group.`,
			testbed.NodeCount, sessionCount, saveRate, share, goal, mostMemory>>20, returnLimit),
		Example: `  go run ./bench greed
  go run ./bench greed --each 30s --json`,
		PreRunE: func(*cobra.Command, []string) error {
			if each < time.Second {
				return errors.New("give --each 1s or more")
			}
			return nil
		},
	}, func(ctx context.Context, r *testbed.Run) (measure.Report, error) { return measureGreed(ctx, r, each) })
	command.Flags().DurationVar(&each, "each", 10*time.Minute, "how long each of the two is measured")
	return command
}

type report struct {
	Machine    string          `json:"machine"`
	BesideBusy measure.Figures `json:"beside_busy_loop_ms"`
	Beside     measure.Figures `json:"beside_greedy_ms"`
	Ratio      float64         `json:"p99_ratio"`
	BusyCPU    float64         `json:"nodes_cores_beside_busy_loop"` // processors that the nodes used
	GreedyCPU  float64         `json:"nodes_cores_beside_greedy"`
	PeakMemory uint64          `json:"peak_memory_bytes"` // of the node that used most
	Greedy     greedCounts     `json:"greedy"`
	Returned   float64         `json:"given_back_after_seconds"` // NaN: not in time
	Left       string          `json:"not_given_back,omitempty"`
}

func measureGreed(ctx context.Context, r *testbed.Run, each time.Duration) (measure.Report, error) {
	c, err := testbed.NewCluster(r.Program, filepath.Join(r.Folder, "nodes"), testbed.NodeCount, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := c.WhileRunning(ctx)
	defer cancel(nil)
	config := client.Config{Seeds: c.Clients(), Where: "bench greed", Autosave: time.Minute, Log: slog.New(slog.DiscardHandler)}
	healthy, err := load.Open(ctx, config, "healthy", saveBytes, 1)
	if err != nil {
		return nil, err
	}
	defer healthy.Close()
	if err := healthy.StartSessions(ctx, sessionCount); err != nil {
		return nil, err
	}
	if _, err := healthy.SaveAtRate(ctx, saveRate, min(each, 10*time.Second)); err != nil { // what a node builds up once
		return nil, err
	}
	before, err := countTaken(ctx, c)
	if err != nil {
		return nil, err
	}
	result := &report{Machine: r.Machine, Returned: math.NaN()}
	var busy, beside *measure.Samples
	var said []byte
	result.BusyCPU, err = measureCores(c, func() (err error) {
		busy, _, err = saveBeside(ctx, r, healthy, each, "busy")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("beside the busy loop: %w", err)
	}
	result.BesideBusy = busy.Figures()
	fmt.Fprintf(r.Notes, "beside the busy loop: p99 %.2f ms\n", result.BesideBusy.P99)
	result.GreedyCPU, err = measureCores(c, func() (err error) {
		beside, said, err = saveBeside(ctx, r, healthy, each, "greedy", c.Clients()...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("beside the greedy client: %w", errors.Join(err, context.Cause(ctx)))
	}
	result.Beside = beside.Figures()
	result.Ratio = result.Beside.P99 / result.BesideBusy.P99
	if err := json.Unmarshal(said, &result.Greedy); err != nil {
		return nil, fmt.Errorf("the greedy client said %q: %w", said, err)
	}
	fmt.Fprintf(r.Notes, "beside the greedy client: p99 %.2f ms\n", result.Beside.P99)
	usages, err := c.Usages()
	if err != nil {
		return nil, err
	}
	for _, u := range usages {
		result.PeakMemory = max(result.PeakMemory, u.Memory.Peak)
	}
	result.Left, err = waitUntilReturned(ctx, c, before, result)
	return result, err
}

// measureCores returns how many processors the nodes used while act ran.
func measureCores(c *testbed.Cluster, act func() error) (cores float64, err error) {
	before, err := c.Usages()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := act(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := c.Usages()
	if err != nil {
		return 0, err
	}
	for i := range after {
		cores += (after[i].CPU - before[i].CPU).Seconds() / took.Seconds()
	}
	return cores, nil
}

// saveBeside measures saves beside a process of this program that may use its share of a processor, and returns what it printed.
func saveBeside(ctx context.Context, r *testbed.Run, healthy *load.Saves, each time.Duration, command string, arguments ...string) (*measure.Samples, []byte, error) {
	group := groups.New(fmt.Sprintf("profilenode-bench-%d", os.Getpid()))
	if err := group.LimitCPU(share); err != nil {
		return nil, nil, errors.Join(err, group.Close())
	}
	var said []byte
	p, err := testbed.StartProcess(r.Folder, command, nil, func(stdout io.Reader) { said, _ = io.ReadAll(stdout) }, append([]string{command}, arguments...)...)
	if err != nil {
		return nil, nil, errors.Join(err, group.Close())
	}
	err = group.Add(p.PID())
	samples := &measure.Samples{}
	if err == nil {
		samples, err = healthy.SaveAtRate(ctx, saveRate, each)
	}
	if command == "greedy" && err == nil {
		err = p.End(ctx)
	}
	p.Kill()
	return samples, said, errors.Join(err, group.Close())
}

// taken is what clients hold of the nodes.
type taken struct {
	files   []int // open files of each node
	servers int   // game servers that are registered
}

func countTaken(ctx context.Context, c *testbed.Cluster) (t taken, err error) {
	for _, n := range c.Nodes {
		process, err := procfs.NewProc(n.PID())
		if err != nil {
			return t, err
		}
		files, err := process.FileDescriptorsLen()
		if err != nil {
			return t, err
		}
		t.files = append(t.files, files)
	}
	leader, err := c.FindLeader(ctx)
	if err != nil {
		return t, err
	}
	servers, err := leader.GameServers(ctx)
	t.servers = len(servers)
	return t, err
}

const filesBetween = 64 // by so many its open files may differ at two times, of an idle node too: Pebble opens and closes some

// waitUntilReturned waits until the nodes hold no more than before, and says what is left when it is too late.
func waitUntilReturned(ctx context.Context, c *testbed.Cluster, before taken, result *report) (left string, err error) {
	began := time.Now()
	for {
		now, err := countTaken(ctx, c)
		if err != nil {
			return "", err
		}
		left = ""
		if now.servers > before.servers {
			left = fmt.Sprintf("%d registrations", now.servers-before.servers)
		}
		for i, files := range now.files {
			if files > before.files[i]+filesBetween {
				left += fmt.Sprintf(" %d open files of node %d", files-before.files[i], i+1)
			}
		}
		if left == "" {
			result.Returned = time.Since(began).Seconds()
			return "", nil
		}
		if time.Since(began) > returnLimit {
			return left, nil
		}
		measure.Sleep(ctx, time.Second)
		if ctx.Err() != nil {
			return left, context.Cause(ctx)
		}
	}
}

// Print prints the figures.
func (r *report) Print(out io.Writer) {
	line := func(what string, f measure.Figures) {
		fmt.Fprintf(out, "  %-26s p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", what, f.P50, f.P99, f.Max)
	}
	fmt.Fprintf(out, "\n%d sessions, %d saves a second of %d bytes, beside a process with %.1f of a processor\n", sessionCount, saveRate, saveBytes, share)
	line("beside a busy loop", r.BesideBusy)
	line("beside a greedy client", r.Beside)
	fmt.Fprintf(out, "  the nodes used %.2f processors beside the busy loop, %.2f beside the greedy client\n", r.BusyCPU, r.GreedyCPU)
	fmt.Fprintf(out, "  ratio of p99: %.2f\n  most memory of a node: %d MiB\n", r.Ratio, r.PeakMemory>>20)
	fmt.Fprintf(out, "  the greedy client opened %d connections, left %d calls unfinished, gave up %d reads, registered %d times and was refused %d times\n",
		r.Greedy.Connections, r.Greedy.Unfinished, r.Greedy.Cancelled, r.Greedy.Registrations, r.Greedy.Refused)
	if r.Left == "" {
		fmt.Fprintf(out, "  everything was given back after %.0f s\n", r.Returned)
	} else {
		fmt.Fprintf(out, "  not given back: %s\n", r.Left)
	}
}

// Faults are harm to the game server and to the nodes, and a greedy client that was none.
func (r *report) Faults() (faults []error) {
	if math.IsNaN(r.Ratio) || r.Ratio > goal {
		faults = append(faults, fmt.Errorf("the p99 of saves is %.2f times as long beside a greedy client as beside a busy loop, want %.1f at most", r.Ratio, goal))
	}
	if r.PeakMemory > mostMemory {
		faults = append(faults, fmt.Errorf("a node used %d MiB, want %d at most", r.PeakMemory>>20, mostMemory>>20))
	}
	if r.Left != "" {
		faults = append(faults, fmt.Errorf("not given back after %v: %s", returnLimit, r.Left))
	}
	if g := r.Greedy; g.Connections == 0 || g.Unfinished == 0 || g.Cancelled == 0 || g.Registrations+g.Refused == 0 {
		faults = append(faults, errors.New("the greedy client did not do all that it is for"))
	}
	return faults
}
