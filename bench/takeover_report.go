package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// printTakeoverJSON prints one object. What was not run or was skipped is there, with n 0.
func printTakeoverJSON(out io.Writer, outcomes []phaseResult) error {
	all := make(map[string]any)
	for _, p := range takeoverPhases() {
		all[p.name] = quantileFigures{}
	}
	tried, landed := 0, 0
	for _, o := range outcomes {
		all[o.phase.name] = o.got.figures()
		tried += o.tries.Tried
		landed += o.landed()
	}
	all["zombie_writes_tried"], all["zombie_writes_landed"] = tried, landed
	return json.NewEncoder(out).Encode(all)
}

func printTakeover(out io.Writer, outcomes []phaseResult) {
	for _, o := range outcomes {
		fmt.Fprintf(out, "\n%s: %s\n", o.phase.name, o.phase.says)
		if o.skipped != "" {
			fmt.Fprintf(out, "  skipped: %s\n", o.skipped)
			continue
		}
		if o.fault != nil {
			fmt.Fprintf(out, "  not done: %v\n", o.fault)
		}
		printHistogram(out, o.got)
	}
	fmt.Fprintf(out, "\n%-9s %6s %9s %9s %9s   %s\n", "", "n", "p50", "p99", "max", "goal")
	tried, refused, landed := 0, 0, 0
	for _, o := range outcomes {
		sentence, _ := o.phase.goal.compareWith(o.got)
		fmt.Fprintf(out, "%-9s %6d %9s %9s %9s   %s\n", o.phase.name, len(o.got), formatBrief(o.got.quantile(0.5)), formatBrief(o.got.quantile(0.99)), formatBrief(o.got.quantile(1)), sentence)
		tried, refused, landed = tried+o.tries.Tried, refused+o.tries.Refused, landed+o.landed()
	}
	fmt.Fprintf(out, "\nsaves of an owner whose profile was somebody else's: %d tried (%d refused by a node, the rest by its own client), %d landed\n", tried, refused, landed)
}

// histogramBin is how many samples lie from one edge up to the next.
type histogramBin struct {
	from, to time.Duration
	count    int
}

// histogramBins lie at 1, 2 and 5 of each decade, from the first that holds a sample to the last.
func histogramBins(s durationSamples) (all []histogramBin) {
	if len(s) == 0 {
		return nil
	}
	most := s.quantile(1)
	from := time.Duration(0)
	for decade := 100 * time.Microsecond; from <= most; decade *= 10 {
		for _, step := range []time.Duration{1, 2, 5} {
			all = append(all, histogramBin{from: from, to: step * decade})
			from = step * decade
		}
	}
	for _, d := range s {
		i, _ := slices.BinarySearchFunc(all, d, func(b histogramBin, d time.Duration) int {
			if b.to <= d {
				return -1
			}
			return 1
		})
		all[i].count++
	}
	empty := func(b histogramBin) bool { return b.count == 0 }
	for empty(all[0]) {
		all = all[1:]
	}
	for empty(all[len(all)-1]) {
		all = all[:len(all)-1]
	}
	return all
}

// printHistogram draws the bins, each with its share of all so far.
func printHistogram(out io.Writer, s durationSamples) {
	all := histogramBins(s)
	most := 0
	for _, b := range all {
		most = max(most, b.count)
	}
	const width = 48
	seen := 0
	for _, b := range all {
		seen += b.count
		// Whoever is there shows, however few: half a block.
		halves := b.count * 2 * width / most
		if b.count > 0 {
			halves = max(halves, 1)
		}
		bar := strings.Repeat("█", halves/2) + strings.Repeat("▌", halves%2)
		fmt.Fprintf(out, "  %8s to %-7s %6d %6.1f %%  %s\n", formatBrief(b.from), formatBrief(b.to), b.count, 100*float64(seen)/float64(len(s)), bar)
	}
}
