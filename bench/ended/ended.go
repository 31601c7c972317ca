// Package ended measures what game servers and command-line calls that have ended still cost a cluster. ended.go measures, calls.go
// makes and ends them.
package ended

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

const (
	idleFor   = 60 * time.Second // of each measurement of an idle leader
	idleTries = 4
	idleGoal  = 1.2  // processor time of the idle leader, as a multiple of that before
	idleNoise = 0.01 // of a processor, by which two measurements of the same may differ
	goneGoal  = testbed.Lease + 500*time.Millisecond
)

// Command is "bench ended".
func Command() *cobra.Command {
	var count int
	command := testbed.Command(&cobra.Command{
		Use:   "ended",
		Short: "measure what ended command-line calls cost a cluster",
		Long: fmt.Sprintf(`ended runs %d nodes, and lets as many command-line calls register and end as --count says. The processor time of the idle leader is
measured for %v before and after that, and then how long it takes until a game server that falls silent is taken for gone.

A leader that uses more than %.1f times as much as before, or a game server that is taken for gone after more than %v, makes the
exit code 1.`, testbed.NodeCount, idleFor, idleGoal, goneGoal),
		Example: `  go run ./bench ended
  go run ./bench ended --count 20000 --json`,
		PreRunE: func(*cobra.Command, []string) error {
			if count < 1 {
				return errors.New("give --count 1 or more")
			}
			return nil
		},
	}, func(ctx context.Context, r *testbed.Run) (measure.Report, error) { return measureEnded(ctx, r, count) })
	command.Flags().IntVar(&count, "count", 100_000, "calls that register and end")
	return command
}

type report struct {
	Machine    string        `json:"machine"`
	Count      int           `json:"count"`
	Seconds    float64       `json:"seconds"`                // in which all of them registered and ended
	IdleBefore float64       `json:"idle_processors_before"` // that the leader used
	IdleAfter  float64       `json:"idle_processors_after"`
	Gone       time.Duration `json:"gone_after_ns"` // from the last renewal of a silent game server until another has its profile
}

func measureEnded(ctx context.Context, r *testbed.Run, count int) (measure.Report, error) {
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
	result := &report{Machine: r.Machine, Count: count}
	if result.IdleBefore, err = measureIdle(ctx, c); err != nil {
		return nil, err
	}
	fmt.Fprintf(r.Notes, "the idle leader used %.4f processors\n", result.IdleBefore)
	callers := newCallers(c.Clients())
	defer callers.close()
	began := time.Now()
	if err := callers.registerAndEnd(ctx, count, r.Notes); err != nil {
		return nil, fmt.Errorf("calls that register and end: %w", err)
	}
	result.Seconds = time.Since(began).Seconds()
	if result.IdleAfter, err = measureIdle(ctx, c); err != nil {
		return nil, err
	}
	fmt.Fprintf(r.Notes, "the idle leader used %.4f processors after %d calls\n", result.IdleAfter, count)
	result.Gone, err = callers.fallSilent(ctx)
	return result, err
}

// measureIdle returns how many processors the leader used while nothing was asked of it. It begins again if another node leads.
func measureIdle(ctx context.Context, c *testbed.Cluster) (processors float64, err error) {
	for range idleTries {
		leader, err := c.FindLeader(ctx)
		if err != nil {
			return 0, err
		}
		measure.Sleep(ctx, 5*time.Second) // what is left to be done of what was before
		before, err := measure.ReadUsage(leader.PID())
		if err != nil {
			return 0, err
		}
		began := time.Now()
		measure.Sleep(ctx, idleFor)
		after, err := measure.ReadUsage(leader.PID())
		if err != nil {
			return 0, err
		}
		processors = (after.CPU - before.CPU).Seconds() / time.Since(began).Seconds()
		if still, err := c.FindLeader(ctx); err != nil || still == leader {
			return processors, errors.Join(err, context.Cause(ctx))
		}
	}
	return 0, fmt.Errorf("another node led after each of %d measurements: the machine is too busy", idleTries)
}

// Print prints the figures.
func (r *report) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%d command-line calls registered and ended in %.0f s\n", r.Count, r.Seconds)
	fmt.Fprintf(out, "  idle leader                before %.4f processors, after %.4f\n", r.IdleBefore, r.IdleAfter)
	fmt.Fprintf(out, "  silent game server         taken for gone after %s\n", measure.FormatDuration(r.Gone))
}

// Faults are what the ended calls still cost.
func (r *report) Faults() (faults []error) {
	if r.IdleAfter > idleGoal*r.IdleBefore+idleNoise {
		faults = append(faults, fmt.Errorf("the idle leader uses %.4f processors, want %.1f times the %.4f from before at most", r.IdleAfter, idleGoal, r.IdleBefore))
	}
	if r.Gone > goneGoal {
		faults = append(faults, fmt.Errorf("a silent game server was taken for gone after %v, want %v at most", r.Gone, goneGoal))
	}
	return faults
}
