package main

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
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

// plotTo writes the plot, and around it a page if the name says so.
func plotTo(path string, outcomes []phaseResult) error {
	text := renderSVG(outcomes)
	if filepath.Ext(path) == ".html" {
		var table strings.Builder
		printTakeover(&table, outcomes)
		text = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>takeover</title></head>\n" +
			"<body style=\"font-family: sans-serif; margin: 2em\">\n" + text + "<pre>" + html.EscapeString(table.String()) + "</pre>\n</body></html>\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	return nil
}

// The plot, in pixels: time to the right, in decades; the share of samples that stay within it, upwards.
const (
	plotWide, plotHigh      = 960, 560
	plotLeft, plotRight     = 64, 200
	plotTop, plotBottom     = 40, 48
	plotFirst, plotDecades  = 100 * time.Microsecond, 6
	plotInWide, plotInHigh  = plotWide - plotLeft - plotRight, plotHigh - plotTop - plotBottom
	plotLegend, plotSpacing = plotWide - plotRight + 16, 56
)

func plotX(d time.Duration) float64 {
	decades := math.Log10(float64(max(d, plotFirst)) / float64(plotFirst))
	return plotLeft + plotInWide*min(decades/plotDecades, 1)
}

func plotY(share float64) float64 { return plotTop + plotInHigh*(1-share) }

// renderSVG draws a line for each phase, and a ring where its p50 is to be at most.
func renderSVG(outcomes []phaseResult) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, plotWide, plotHigh, plotWide, plotHigh)
	line(`<rect width="100%%" height="100%%" fill="white"/>`)
	line(`<text x="%d" y="22" font-size="15">how soon a profile goes on: share of trials within a time (ring: where the goal for p50 is)</text>`, plotLeft)
	for decade, d := 0, plotFirst; decade <= plotDecades; decade, d = decade+1, d*10 {
		x := plotX(d)
		line(`<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, plotTop, plotTop+plotInHigh, x, plotHigh-plotBottom+20, formatBrief(d))
	}
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 0.99} {
		y := plotY(share)
		line(`<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`, plotLeft, y, plotLeft+plotInWide, plotLeft-8, y+4, 100*share)
	}
	colours := []string{"#0072b2", "#009e73", "#56b4e9", "#e69f00", "#d55e00", "#cc79a7", "#000000"}
	for i, o := range outcomes {
		colour := colours[i%len(colours)]
		y := plotTop + 12 + i*plotSpacing
		line(`<path d="M%d %d h24" stroke="%s" stroke-width="2"/><text x="%d" y="%d">%s, n %d</text>`, plotLegend, y-4, colour, plotLegend+32, y, o.phase.name, len(o.got))
		line(`<text x="%d" y="%d" fill="#555">p50 %s</text><text x="%d" y="%d" fill="#555">p99 %s</text>`,
			plotLegend+32, y+16, formatBrief(o.got.quantile(0.5)), plotLegend+32, y+32, formatBrief(o.got.quantile(0.99)))
		if len(o.got) > 0 {
			line(`<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`, stairPath(o.got), colour)
		}
		if o.phase.goal.p50 > 0 {
			line(`<circle cx="%.1f" cy="%.1f" r="5" fill="none" stroke="%s" stroke-width="2"/>`, plotX(o.phase.goal.p50), plotY(0.5), colour)
		}
	}
	line(`</svg>`)
	return b.String()
}

// stairPath is the path of a phase: a step up at each sample.
func stairPath(s durationSamples) string {
	var b strings.Builder
	for i, d := range slices.Sorted(slices.Values(s)) {
		if i == 0 {
			fmt.Fprintf(&b, "M%.1f %.1f", plotX(d), plotY(0))
		}
		fmt.Fprintf(&b, "H%.1fV%.1f", plotX(d), plotY(float64(i+1)/float64(len(s))))
	}
	return b.String()
}
