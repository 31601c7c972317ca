package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// capacityReport is what a run of capacity found. Slices of memory are one entry a node.
type capacityReport struct {
	Machine  string `json:"machine"`
	Command  string `json:"command"`
	At       string `json:"at"`
	Nodes    int    `json:"nodes"`
	Profiles uint64 `json:"profiles"`
	Bytes    int    `json:"bytes"`

	Fill struct {
		fillResult
		Memory         []memoryUsage `json:"memory"` // most of each while filling
		WrittenPerByte []float64     `json:"written_per_byte"`
		CPUPerSave     []float64     `json:"cpu_us_per_save"`
	} `json:"fill"`
	Stands    []restingFigures `json:"stands"`
	Restarts  []restartFigures `json:"restarts"`
	OpenFew   latencyFigures   `json:"open_few"`   // sessions opened on the cluster of few profiles
	OpenLarge latencyFigures   `json:"open_large"` // on this one: reads of cold profiles
	Pairs     []costPair       `json:"pairs"`
	Loaded    []memoryUsage    `json:"memory_under_load"`
	Snapshots snapshotFigures  `json:"snapshots"`
	CatchUp   *catchUpFigures  `json:"catch_up,omitempty"`
}

// restingFigures is one node after the fill.
type restingFigures struct {
	Memory memoryUsage `json:"memory"`
	Disk   diskUsage   `json:"disk"`
}

type restartFigures struct {
	How      string        `json:"how"`
	Stopping float64       `json:"stopping_s"`
	Answers  float64       `json:"answers_s"` // from the start of the process to a proved read
	Memory   []memoryUsage `json:"memory"`
}

// costFigures is one round of saves.
type costFigures struct {
	Rate           float64        `json:"saves_per_second"`
	Times          latencyFigures `json:"save"`
	CPUPerSave     float64        `json:"cpu_us_per_save"`  // of all nodes
	WrittenPerByte float64        `json:"written_per_byte"` // of one node
}

// costPair is a round on the cluster of few profiles, and the one after it on this one.
type costPair struct {
	Writers int         `json:"writers"`
	Few     costFigures `json:"few"`
	Large   costFigures `json:"large"`
}

type snapshotFigures struct {
	Rate    float64        `json:"saves_per_second"`
	Every   string         `json:"snapshot_bytes"`
	Taken   int            `json:"taken"`
	Without latencyFigures `json:"without"`
	With    latencyFigures `json:"with"`
}

type catchUpFigures struct {
	Rate      float64        `json:"saves_per_second"`
	Level     float64        `json:"level_s"`
	Votes     float64        `json:"votes_s"`
	Meanwhile latencyFigures `json:"save"`
	Memory    memoryUsage    `json:"memory"` // of the node that came back
}

func (r *capacityReport) printReport(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", what, fmt.Sprintf(format, args...)) }
	line("machine", "%s", r.Machine)
	line("run", "%d profiles of %d bytes, %d nodes; bench %s", r.Profiles, r.Bytes, r.Nodes, r.Command)
	line("fill", "%d profiles in %.0f s, %.0f a second; p50 %.1f ms, p99 %.1f ms", r.Fill.Written, r.Fill.Seconds, r.Fill.Rate, r.Fill.Set.P50, r.Fill.Set.P99)
	for i := range r.Fill.WrittenPerByte {
		line(fmt.Sprintf("fill, node %d", i+1), "%.1f bytes written a byte, %.0f us CPU a profile, at most %s resident (%s own)",
			r.Fill.WrittenPerByte[i], r.Fill.CPUPerSave[i], formatSize(r.Fill.Memory[i].RSS), formatSize(r.Fill.Memory[i].Own))
	}
	for i, s := range r.Stands {
		line(fmt.Sprintf("then, node %d", i+1), "%s resident (%s own, peak %s); disk %s: tables %s, snapshots %s, log %s",
			formatSize(s.Memory.RSS), formatSize(s.Memory.Own), formatSize(s.Memory.Peak), formatSize(s.Disk.Total), formatSize(s.Disk.Tables), formatSize(s.Disk.Snapshots), formatSize(s.Disk.Log))
	}
	for _, s := range r.Restarts {
		line("restart after "+s.How, "answers after %.2f s; stopping took %.2f s", s.Answers, s.Stopping)
	}
	for _, writers := range []int{1, 64} {
		r.printCost(line, writers)
	}
	if len(r.Pairs) > 0 {
		line("sessions opened", "p50 %.1f ms, p99 %.1f ms; few profiles: %.1f, %.1f", r.OpenLarge.P50, r.OpenLarge.P99, r.OpenFew.P50, r.OpenFew.P99)
	}
	for i, m := range r.Loaded {
		line(fmt.Sprintf("under load, node %d", i+1), "at most %s resident (%s own)", formatSize(m.RSS), formatSize(m.Own))
	}
	if s := r.Snapshots; s.Taken > 0 || s.With.Count > 0 {
		line("no snapshots", "%.0f saves a second: p50 %.1f ms, p99 %.1f, p99.9 %.1f, longest %.1f", s.Rate, s.Without.P50, s.Without.P99, s.Without.P999, s.Without.Max)
		line(fmt.Sprintf("%d snapshots", s.Taken), "%.0f saves a second: p50 %.1f ms, p99 %.1f, p99.9 %.1f, longest %.1f", s.Rate, s.With.P50, s.With.P99, s.With.P999, s.With.Max)
	}
	if c := r.CatchUp; c != nil {
		line("emptied node", "level after %.1f s, votes after %.1f s; meanwhile p50 %.1f ms, p99 %.1f, p99.9 %.1f, longest %.1f", c.Level, c.Votes, c.Meanwhile.P50, c.Meanwhile.P99, c.Meanwhile.P999, c.Meanwhile.Max)
	}
	_ = t.Flush()
}

// printCost is the medians of the rounds with so many writers.
func (r *capacityReport) printCost(line func(string, string, ...any), writers int) {
	of := func(f func(costPair) float64) float64 {
		var all []float64
		for _, p := range r.Pairs {
			if p.Writers == writers {
				all = append(all, f(p))
			}
		}
		return medianOf(all)
	}
	if of(func(p costPair) float64 { return p.Large.Rate }) == 0 {
		return
	}
	line(fmt.Sprintf("saves, %d at once", writers), "%.0f a second, p50 %.1f ms, p99 %.1f ms, %.0f us CPU, %.1f bytes written a byte and node",
		of(func(p costPair) float64 { return p.Large.Rate }), of(func(p costPair) float64 { return p.Large.Times.P50 }),
		of(func(p costPair) float64 { return p.Large.Times.P99 }), of(func(p costPair) float64 { return p.Large.CPUPerSave }),
		of(func(p costPair) float64 { return p.Large.WrittenPerByte }))
	if of(func(p costPair) float64 { return p.Few.Rate }) == 0 {
		return
	}
	ratio := func(f func(costFigures) float64) float64 {
		return of(func(p costPair) float64 { return f(p.Large) / f(p.Few) })
	}
	line("  of few profiles'", "rate x %.2f, mean x %.2f, p50 x %.2f, p99 x %.2f, CPU x %.2f, written x %.2f", ratio(func(c costFigures) float64 { return c.Rate }),
		ratio(func(c costFigures) float64 { return c.Times.Mean }), ratio(func(c costFigures) float64 { return c.Times.P50 }),
		ratio(func(c costFigures) float64 { return c.Times.P99 }), ratio(func(c costFigures) float64 { return c.CPUPerSave }),
		ratio(func(c costFigures) float64 { return c.WrittenPerByte }))
}

func medianOf(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, cmp.Compare[float64])
	return all[len(all)/2]
}

func formatSize(bytes uint64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}

// describeMachine says in a few words what this runs on.
func describeMachine() string {
	model, memory := "", ""
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		for lines := bufio.NewScanner(file); lines.Scan() && model == ""; {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
		_ = file.Close()
	}
	if fields, err := procFields("/proc/meminfo"); err == nil {
		memory = formatSize(parseNumber(strings.TrimSuffix(fields["MemTotal"], " kB")) << 10)
	}
	return fmt.Sprintf("%s/%s, %d CPUs (%s), %s, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), model, memory, runtime.Version())
}
