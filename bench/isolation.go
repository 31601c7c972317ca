package main

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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/client"
)

const (
	isolationHealthy = 1000 // sessions
	isolationRate    = 200  // of their saves a second, together
	isolationBytes   = 1024 // of each

	isolationGoal = 1.5 // their p99 beside the sick ones, as a multiple of that without
	settleLimit   = 10 * time.Second
)

// isolationOptions is how long to measure whether one profile harms another.
type isolationOptions struct {
	pairs   int
	each    time.Duration
	program string
	asJSON  bool
}

func isolationCommand() *cobra.Command {
	var c isolationOptions
	command := &cobra.Command{
		Use:   "isolation",
		Short: "measure whether some profiles of a game server harm its others",
		Long: fmt.Sprintf(`isolation runs %d nodes and one game server with %d healthy sessions that save %d times a second together. It compares
the times of these saves without and beside four sick profiles of the same game server: one whose lock the game holds all
the time, one of 6 MiB, one with a number that JSON cannot hold, and one whose handler panics at each save.

A save that is not acknowledged, a p99 of more than %.1f times that without the sick (the median of all pairs), or a
request number that stays unsettled makes the exit code 1.`, bedNodes, isolationHealthy, isolationRate, isolationGoal),
		Example: `  go run ./bench isolation
  go run ./bench isolation --pairs 1 --each 10s --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.measureIsolation(command.Context(), os.Stdout, os.Stderr)
		},
	}
	flags := command.Flags()
	flags.IntVar(&c.pairs, "pairs", 5, "how often each of the two is measured")
	flags.DurationVar(&c.each, "each", time.Minute, "how long")
	flags.StringVar(&c.program, "program", "", "profilenode `file` to run (default: built from source)")
	flags.BoolVar(&c.asJSON, "json", false, "print one JSON object and nothing else")
	return command
}

// isolationPair is one measurement without the sick profiles, and one beside them.
type isolationPair struct {
	Without quantileFigures `json:"without_ms"`
	Beside  quantileFigures `json:"beside_ms"`
	Ratio   float64         `json:"p99_ratio"`
}

type isolationReport struct {
	Machine   string          `json:"machine"`
	Pairs     []isolationPair `json:"pairs"`
	Ratio     float64         `json:"p99_ratio_median"`
	Sick      sickCounts      `json:"sick"`
	Unsettled uint64          `json:"unsettled_numbers"`
}

func (c isolationOptions) measureIsolation(ctx context.Context, out, notes io.Writer) (err error) {
	if c.pairs < 1 || c.each < time.Second {
		return errors.New("give --pairs 1 or more, and --each 1s or more")
	}
	dir, err := makeWorkFolder(ctx, &c.program, notes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var r isolationReport
	if r.Machine, err = measureMachine(dir); err != nil {
		return err
	}
	fmt.Fprintln(notes, r.Machine)
	nodes, err := newNodes(c.program, filepath.Join(dir, "nodes"), bedNodes)
	if err != nil {
		return err
	}
	defer closeNodes(nodes)
	for _, n := range nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	if _, err := findLeader(ctx, nodes); err != nil {
		return err
	}
	if err := c.measurePair(ctx, clientsOf(nodes), &r, notes); err != nil {
		return err
	}
	if c.asJSON {
		err = json.NewEncoder(out).Encode(r)
	} else {
		r.printReport(out)
	}
	return errors.Join(err, r.checkGoals())
}

func (c isolationOptions) measurePair(ctx context.Context, seeds []string, r *isolationReport, notes io.Writer) error {
	l, err := newHealthyLoad(ctx, seeds)
	if err != nil {
		return err
	}
	defer l.closeLoad()
	for round := range c.pairs {
		var pair isolationPair
		if pair.Without, err = c.measureOnce(ctx, l); err != nil {
			return fmt.Errorf("without the sick profiles: %w", err)
		}
		sick, err := startSickProfiles(ctx, l.client, round)
		if err != nil {
			return fmt.Errorf("make the sick profiles: %w", err)
		}
		pair.Beside, err = c.measureOnce(ctx, l)
		if err == nil {
			// The sick ones are still so: what they hold up would show in the numbers.
			r.Unsettled = max(r.Unsettled, unsettledAfter(ctx, l.client, settleLimit))
		}
		r.Sick.addCounts(sick.endAndCount())
		if err != nil {
			return fmt.Errorf("beside the sick profiles: %w", err)
		}
		pair.Ratio = pair.Beside.P99 / pair.Without.P99
		r.Pairs = append(r.Pairs, pair)
		fmt.Fprintf(notes, "pair %d of %d: p99 %.2f ms without, %.2f ms beside them: %.2f times\n", len(r.Pairs), c.pairs, pair.Without.P99, pair.Beside.P99, pair.Ratio)
	}
	var ratios []float64
	for _, pair := range r.Pairs {
		ratios = append(ratios, pair.Ratio)
	}
	slices.Sort(ratios)
	r.Ratio = ratios[len(ratios)/2]
	return nil
}

// measureOnce lets the healthy sessions save for a while. Each save is measured from when it was due.
func (c isolationOptions) measureOnce(ctx context.Context, l *saveLoad) (quantileFigures, error) {
	var took durationSamples
	taken := make(chan time.Duration, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d := range taken {
			took = append(took, d)
		}
	}()
	_, err := l.saveAtRate(ctx, isolationRate, c.each, func(_ time.Time, d time.Duration) { taken <- d })
	close(taken)
	<-done
	return took.figures(), err
}

// newHealthyLoad opens the healthy sessions.
func newHealthyLoad(ctx context.Context, seeds []string) (*saveLoad, error) {
	c, err := client.Open(ctx, client.Config{Seeds: seeds, Where: "bench isolation", Autosave: time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	l := &saveLoad{client: c, bytes: isolationBytes, seed: 1}
	store, err := client.NewStore(c, "healthy", json.RawMessage("{}"))
	if err != nil {
		closeClient(c)
		return nil, err
	}
	for i := range isolationHealthy {
		p, err := store.StartSession(ctx, profileKey(uint64(i)))
		if err != nil {
			closeClient(c)
			return nil, err
		}
		l.sessions = append(l.sessions, p)
	}
	return l, nil
}

// unsettledAfter is how many request numbers are still unsettled after some time without saves.
func unsettledAfter(ctx context.Context, c *client.Client, limit time.Duration) uint64 {
	deadline := time.Now().Add(limit)
	for {
		unsettled := c.Stats().Unsettled
		if unsettled == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return unsettled
		}
		sleepUnlessDone(ctx, 10*time.Millisecond)
	}
}

func (r *isolationReport) printReport(out io.Writer) {
	fmt.Fprintf(out, "\n%d sessions, %d saves a second of %d bytes\n", isolationHealthy, isolationRate, isolationBytes)
	fmt.Fprintf(out, "  %-6s %24s %24s %8s\n", "pair", "p50/p99/max ms without", "beside the sick", "p99")
	for i, p := range r.Pairs {
		three := func(f quantileFigures) string { return fmt.Sprintf("%.2f / %.2f / %.2f", f.P50, f.P99, f.Max) }
		fmt.Fprintf(out, "  %-6d %24s %24s %7.2fx\n", i+1, three(p.Without), three(p.Beside), p.Ratio)
	}
	fmt.Fprintf(out, "  median of the ratios of p99: %.2f\n  unsettled request numbers at the end: %d\n", r.Ratio, r.Unsettled)
	fmt.Fprintf(out, "  meanwhile: %s\n", r.Sick)
}

func (r *isolationReport) checkGoals() error {
	var faults []error
	if math.IsNaN(r.Ratio) || r.Ratio > isolationGoal {
		faults = append(faults, fmt.Errorf("the p99 of healthy profiles is %.2f times as long beside sick ones, want %.1f at most", r.Ratio, isolationGoal))
	}
	if r.Unsettled > 0 {
		faults = append(faults, fmt.Errorf("%d request numbers stay unsettled", r.Unsettled))
	}
	if missing := r.Sick.missingKinds(); len(missing) > 0 {
		faults = append(faults, fmt.Errorf("nothing was seen of: %s: the sick profiles were well", strings.Join(missing, ", ")))
	}
	return errors.Join(faults...)
}
