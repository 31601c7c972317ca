package capacity

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/profilenode/profilenode/bench/fill"
	"github.com/profilenode/profilenode/bench/measure"
)

// report has the figures of a run. Slices of memory have one entry for each node.
type report struct {
	Machine  string `json:"machine"`
	Command  string `json:"command"`
	At       string `json:"at"`
	Nodes    int    `json:"nodes"`
	Profiles uint64 `json:"profiles"`
	Bytes    int    `json:"bytes"`

	Fill struct {
		fill.Result
		Memory         []measure.Memory `json:"memory"` // most of each while filling
		WrittenPerByte []float64        `json:"written_per_byte"`
		CPUPerSave     []float64        `json:"cpu_us_per_save"`
	} `json:"fill"`
	Resting   []restingFigures `json:"resting"`
	Restarts  []restartFigures `json:"restarts"`
	OpenFew   measure.Figures  `json:"open_few"`   // sessions opened on the cluster of few profiles
	OpenLarge measure.Figures  `json:"open_large"` // on this one: reads of cold profiles
	Pairs     []costPair       `json:"pairs"`
	Loaded    []measure.Memory `json:"memory_under_load"`
	Snapshots snapshotFigures  `json:"snapshots"`
	CatchUp   *catchUpFigures  `json:"catch_up,omitempty"`
}

// restingFigures is one node after the fill.
type restingFigures struct {
	Memory measure.Memory `json:"memory"`
	Disk   measure.Disk   `json:"disk"`
}

func (f restingFigures) String() string {
	size := measure.FormatSize
	return fmt.Sprintf("%s resident (%s own, peak %s); disk %s: tables %s, snapshots %s, log %s", size(f.Memory.RSS), size(f.Memory.Own),
		size(f.Memory.Peak), size(f.Disk.Total), size(f.Disk.Tables), size(f.Disk.Snapshots), size(f.Disk.Log))
}

type restartFigures struct {
	How      string           `json:"how"`
	Stopping float64          `json:"stopping_s"`
	Answers  float64          `json:"answers_s"` // from the start of the process to a linearizable read
	Memory   []measure.Memory `json:"memory"`
}

// costFigures is one round of saves.
type costFigures struct {
	Rate           float64         `json:"saves_per_second"`
	Times          measure.Figures `json:"save"`
	CPUPerSave     float64         `json:"cpu_us_per_save"`  // of all nodes
	WrittenPerByte float64         `json:"written_per_byte"` // of one node
}

func (f costFigures) String() string {
	return fmt.Sprintf("%.0f a second, p50 %.1f ms, p99 %.1f ms, %.0f us CPU, %.1f bytes written a byte and node",
		f.Rate, f.Times.P50, f.Times.P99, f.CPUPerSave, f.WrittenPerByte)
}

// costPair is a round on the cluster of few profiles, and the one after it on this one.
type costPair struct {
	Writers int         `json:"writers"`
	Few     costFigures `json:"few"`
	Large   costFigures `json:"large"`
}

type snapshotFigures struct {
	Rate    float64         `json:"saves_per_second"`
	Every   string          `json:"snapshot_bytes"`
	Taken   int             `json:"taken"`
	Without measure.Figures `json:"without"`
	With    measure.Figures `json:"with"`
}

type catchUpFigures struct {
	Rate      float64         `json:"saves_per_second"`
	Level     float64         `json:"level_s"`
	Votes     float64         `json:"votes_s"`
	Meanwhile measure.Figures `json:"save"`
	Memory    measure.Memory  `json:"memory"` // of the node that came back
}

func formatFigures(f measure.Figures) string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f, p99.9 %.1f, longest %.1f", f.P50, f.P99, f.P999, f.Max)
}

// Faults are none: the goals are those of docs/capacity.md, which are of ten million profiles.
func (r *report) Faults() []error { return nil }

// Print prints a line for each step.
func (r *report) Print(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(title, format string, arguments ...any) {
		fmt.Fprintf(t, "%s\t%s\n", title, fmt.Sprintf(format, arguments...))
	}
	line("machine", "%s", r.Machine)
	line("run", "%d profiles of %d bytes, %d nodes; bench %s", r.Profiles, r.Bytes, r.Nodes, r.Command)
	line("fill", "%d profiles in %.0f s, %.0f a second; p50 %.1f ms, p99 %.1f ms", r.Fill.Written, r.Fill.Seconds, r.Fill.Rate, r.Fill.Set.P50, r.Fill.Set.P99)
	for i := range r.Fill.WrittenPerByte {
		line(fmt.Sprintf("fill, node %d", i+1), "%.1f bytes written a byte, %.0f us CPU a profile, at most %s resident (%s own)",
			r.Fill.WrittenPerByte[i], r.Fill.CPUPerSave[i], measure.FormatSize(r.Fill.Memory[i].RSS), measure.FormatSize(r.Fill.Memory[i].Own))
	}
	for i, f := range r.Resting {
		line(fmt.Sprintf("then, node %d", i+1), "%s", f)
	}
	for _, f := range r.Restarts {
		line("restart after "+f.How, "answers after %.2f s; stopping took %.2f s", f.Answers, f.Stopping)
	}
	for _, writers := range []int{1, 64} {
		r.printCost(line, writers)
	}
	if len(r.Pairs) > 0 {
		line("sessions opened", "p50 %.1f ms, p99 %.1f ms; few profiles: %.1f, %.1f", r.OpenLarge.P50, r.OpenLarge.P99, r.OpenFew.P50, r.OpenFew.P99)
	}
	for i, m := range r.Loaded {
		line(fmt.Sprintf("under load, node %d", i+1), "at most %s resident (%s own)", measure.FormatSize(m.RSS), measure.FormatSize(m.Own))
	}
	if f := r.Snapshots; f.With.N > 0 {
		line("no snapshots", "%.0f saves a second: %s", f.Rate, formatFigures(f.Without))
		line(fmt.Sprintf("%d snapshots", f.Taken), "%.0f saves a second: %s", f.Rate, formatFigures(f.With))
	}
	if f := r.CatchUp; f != nil {
		line("emptied node", "level after %.1f s, votes after %.1f s; meanwhile %s", f.Level, f.Votes, formatFigures(f.Meanwhile))
	}
	_ = t.Flush()
}

// printCost prints the medians of the rounds with so many writers.
func (r *report) printCost(line func(string, string, ...any), writers int) {
	median := func(f func(costPair) float64) float64 {
		var all []float64
		for _, p := range r.Pairs {
			if p.Writers == writers {
				all = append(all, f(p))
			}
		}
		return measure.Median(all...)
	}
	rate := func(f costFigures) float64 { return f.Rate }
	mean := func(f costFigures) float64 { return f.Times.Mean }
	p50 := func(f costFigures) float64 { return f.Times.P50 }
	p99 := func(f costFigures) float64 { return f.Times.P99 }
	cpu := func(f costFigures) float64 { return f.CPUPerSave }
	written := func(f costFigures) float64 { return f.WrittenPerByte }
	large := func(f func(costFigures) float64) float64 {
		return median(func(p costPair) float64 { return f(p.Large) })
	}
	ratio := func(f func(costFigures) float64) float64 {
		return median(func(p costPair) float64 { return f(p.Large) / f(p.Few) })
	}
	if large(rate) == 0 {
		return
	}
	line(fmt.Sprintf("saves, %d at once", writers), "%s", costFigures{
		Rate: large(rate), Times: measure.Figures{P50: large(p50), P99: large(p99)}, CPUPerSave: large(cpu), WrittenPerByte: large(written),
	})
	if median(func(p costPair) float64 { return p.Few.Rate }) > 0 {
		line("  of few profiles'", "rate x %.2f, mean x %.2f, p50 x %.2f, p99 x %.2f, CPU x %.2f, written x %.2f",
			ratio(rate), ratio(mean), ratio(p50), ratio(p99), ratio(cpu), ratio(written))
	}
}
