// Package isolation measures whether some profiles of a game server harm its others. isolation.go measures the healthy ones,
// sick.go makes the sick ones.
package isolation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/client"
)

const (
	sessionCount = 1000 // healthy ones
	saveRate     = 200  // of their saves a second, together
	saveBytes    = 1024 // of each

	goal        = 1.5 // their p99 beside the sick ones, as a multiple of that without
	settleLimit = 10 * time.Second
)

// options say how long to measure.
type options struct {
	pairs int
	each  time.Duration
}

// Command is "bench isolation".
func Command() *cobra.Command {
	var o options
	command := testbed.Command(&cobra.Command{
		Use:   "isolation",
		Short: "measure whether some profiles of a game server harm its others",
		Long: fmt.Sprintf(`isolation runs %d nodes and one game server with %d healthy sessions that save %d times a second together. It compares
the times of these saves without and beside four sick profiles of the same game server: one whose lock the game holds all
the time, one of 6 MiB, one with a number that JSON cannot hold, and one whose handler panics at each save.

A save that is not acknowledged, a p99 of more than %.1f times that without the sick (the median of all pairs), or a
request number that stays unsettled makes the exit code 1.`, testbed.NodeCount, sessionCount, saveRate, goal),
		Example: `  go run ./bench isolation
  go run ./bench isolation --pairs 1 --each 10s --json`,
		PreRunE: func(*cobra.Command, []string) error {
			if o.pairs < 1 || o.each < time.Second {
				return errors.New("give --pairs 1 or more, and --each 1s or more")
			}
			return nil
		},
	}, o.measure)
	flags := command.Flags()
	flags.IntVar(&o.pairs, "pairs", 5, "how often each of the two is measured")
	flags.DurationVar(&o.each, "each", time.Minute, "how long")
	return command
}

// pair is one measurement without the sick profiles, and one beside them.
type pair struct {
	Without measure.Figures `json:"without_ms"`
	Beside  measure.Figures `json:"beside_ms"`
	Ratio   float64         `json:"p99_ratio"`
}

type report struct {
	Machine   string     `json:"machine"`
	Pairs     []pair     `json:"pairs"`
	Ratio     float64    `json:"p99_ratio_median"`
	Sick      sickCounts `json:"sick"`
	Unsettled uint64     `json:"unsettled_numbers"`
}

func (o *options) measure(ctx context.Context, r *testbed.Run) (measure.Report, error) {
	c, err := testbed.NewCluster(r.Program, filepath.Join(r.Folder, "nodes"), testbed.NodeCount, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	config := client.Config{Seeds: c.Clients(), Where: "bench isolation", Autosave: time.Second, Log: slog.New(slog.DiscardHandler)}
	healthy, err := load.Open(ctx, config, "healthy", saveBytes, 1)
	if err != nil {
		return nil, err
	}
	defer healthy.Close()
	if err := healthy.StartSessions(ctx, sessionCount); err != nil {
		return nil, err
	}
	result := &report{Machine: r.Machine}
	var ratios []float64
	for round := range o.pairs {
		p, err := o.measurePair(ctx, healthy, round, result)
		if err != nil {
			return nil, err
		}
		result.Pairs = append(result.Pairs, p)
		ratios = append(ratios, p.Ratio)
		fmt.Fprintf(r.Notes, "pair %d of %d: p99 %.2f ms without, %.2f ms beside them: %.2f times\n", round+1, o.pairs, p.Without.P99, p.Beside.P99, p.Ratio)
	}
	result.Ratio = measure.Median(ratios...)
	return result, nil
}

func (o *options) measurePair(ctx context.Context, healthy *load.Saves, round int, result *report) (p pair, err error) {
	without, err := healthy.SaveAtRate(ctx, saveRate, o.each)
	if err != nil {
		return p, fmt.Errorf("without the sick profiles: %w", err)
	}
	sick, err := startSickProfiles(ctx, healthy.Client, round)
	if err != nil {
		return p, fmt.Errorf("make the sick profiles: %w", err)
	}
	beside, err := healthy.SaveAtRate(ctx, saveRate, o.each)
	if err == nil {
		// They are still sick: requests that they hold up would show in the numbers.
		result.Unsettled = max(result.Unsettled, waitUntilSettled(ctx, healthy.Client))
	}
	result.Sick.addCounts(sick.endAndCount())
	if err != nil {
		return p, fmt.Errorf("beside the sick profiles: %w", err)
	}
	p = pair{Without: without.Figures(), Beside: beside.Figures()}
	p.Ratio = p.Beside.P99 / p.Without.P99
	return p, nil
}

// waitUntilSettled waits until no request number is unsettled, and returns how many still are after some time without saves.
func waitUntilSettled(ctx context.Context, c *client.Client) uint64 {
	for deadline := time.Now().Add(settleLimit); ; measure.Sleep(ctx, 10*time.Millisecond) {
		unsettled := c.Stats().Unsettled
		if unsettled == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return unsettled
		}
	}
}

// Print prints a table.
func (r *report) Print(out io.Writer) {
	fmt.Fprintf(out, "\n%d sessions, %d saves a second of %d bytes\n", sessionCount, saveRate, saveBytes)
	fmt.Fprintf(out, "  %-6s %24s %24s %8s\n", "pair", "p50/p99/max ms without", "beside the sick", "p99")
	for i, p := range r.Pairs {
		three := func(f measure.Figures) string { return fmt.Sprintf("%.2f / %.2f / %.2f", f.P50, f.P99, f.Max) }
		fmt.Fprintf(out, "  %-6d %24s %24s %7.2fx\n", i+1, three(p.Without), three(p.Beside), p.Ratio)
	}
	fmt.Fprintf(out, "  median of the ratios of p99: %.2f\n  unsettled request numbers at the end: %d\n", r.Ratio, r.Unsettled)
	fmt.Fprintf(out, "  meanwhile: %s\n", r.Sick)
}

// Faults are harm to the healthy profiles, and sick ones that were well.
func (r *report) Faults() (faults []error) {
	if math.IsNaN(r.Ratio) || r.Ratio > goal {
		faults = append(faults, fmt.Errorf("the p99 of healthy profiles is %.2f times as long beside sick ones, want %.1f at most", r.Ratio, goal))
	}
	if r.Unsettled > 0 {
		faults = append(faults, fmt.Errorf("%d request numbers stay unsettled", r.Unsettled))
	}
	if missing := r.Sick.missingKinds(); len(missing) > 0 {
		faults = append(faults, fmt.Errorf("there were no %s: the sick profiles were well", strings.Join(missing, ", no ")))
	}
	return faults
}
