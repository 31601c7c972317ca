package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// Colours that are told apart in each form of colour blindness.
const (
	colourOK      = "#3b76b8"
	colourFail    = "#b8bfc9"
	colourUnknown = "#e08a1e"
	colourHigh    = "#b3261e"
	colourGrid    = "#e3e6ea"
	colourText    = "#46505f"
)

// faultColours are taken in turn by the names of faults.
var faultColours = []string{"#c2410c", "#7c3aed", "#0f766e", "#be185d", "#4d7c0f", "#1d4ed8", "#a16207", "#475569"}

// Sizes of the picture, in its own units.
const (
	width, left, right = 1080, 130, 12
	laneHeight         = 16
	panelHeight        = 150
	gapBetween         = 26
	mostBuckets        = 450
)

// bucket is what ended in a stretch of the run.
type bucket struct {
	ok, fail, unknown int
	latencies         []time.Duration // of what was acknowledged
}

// fillBuckets sorts operations by when they ended. A stretch is a second, or more seconds in a long run.
func fillBuckets(operations []history.Operation, length time.Duration) ([]bucket, time.Duration) {
	stretch := time.Second
	for length/stretch > mostBuckets {
		stretch += time.Second
	}
	buckets := make([]bucket, length/stretch+1)
	for i := range operations {
		o := &operations[i]
		if o.Completion.Type == "" {
			continue
		}
		b := &buckets[min(int(o.Completion.Time/stretch), len(buckets)-1)]
		switch o.Type {
		case history.OK:
			b.ok++
			b.latencies = append(b.latencies, o.Return-o.Call)
		case history.Fail:
			b.fail++
		default:
			b.unknown++
		}
	}
	for i := range buckets {
		slices.Sort(buckets[i].latencies)
	}
	return buckets, stretch
}

// canvas collects the elements of a picture.
type canvas struct {
	strings.Builder
	length time.Duration
}

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

// across is the place of a time from left to right.
func (c *canvas) across(t time.Duration) float64 {
	return left + (width-left-right)*min(1, float64(t)/float64(max(c.length, 1)))
}

func (c *canvas) text(x, y float64, anchor, text string) {
	c.add(`<text x="%.1f" y="%.1f" text-anchor="%s" font-size="11" fill="%s">%s</text>`, x, y, anchor, colourText, template.HTMLEscapeString(text))
}

// drawTimeline draws the faults, the rate of operations and their latency over one axis of time.
func drawTimeline(operations []history.Operation, faults []check.FaultSpan, length time.Duration) template.HTML {
	c := &canvas{length: length}
	var names []string
	for _, f := range faults {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	buckets, stretch := fillBuckets(operations, length)
	rateTop := float64(8 + len(names)*laneHeight + gapBetween)
	latencyTop := rateTop + panelHeight + gapBetween
	bottom := latencyTop + panelHeight
	for _, f := range faults { // faint, behind all curves
		colour := faultColours[slices.Index(names, f.Name)%len(faultColours)]
		x := c.across(f.Begin)
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s" fill-opacity="0.08"/>`, x, rateTop, max(1, c.across(f.End)-x), bottom-rateTop, colour)
	}
	for i, name := range names {
		y := float64(8 + i*laneHeight)
		c.text(left-8, y+10, "end", name)
		for _, f := range faults {
			if f.Name == name {
				x, healed := c.across(f.Begin), "never healed"
				if f.End != history.Never {
					healed = "to " + f.End.Round(time.Millisecond).String()
				}
				c.add(`<rect class="fault" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2" fill="%s"><title>%s, from %v, %s</title></rect>`, x, y, max(2, c.across(f.End)-x),
					laneHeight-4, faultColours[i%len(faultColours)], template.HTMLEscapeString(strings.TrimSpace(f.Name+" "+f.Node+" "+f.Detail)), f.Begin.Round(time.Millisecond), healed)
			}
		}
	}
	c.drawRates(buckets, stretch, rateTop)
	c.drawLatencies(buckets, stretch, latencyTop)
	c.drawSeconds(rateTop, bottom)
	return template.HTML(fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" font-family="system-ui, sans-serif" role="img">%s</svg>`,
		width, bottom+24, width, "\n"+c.String()))
}

func (c *canvas) drawRates(buckets []bucket, stretch time.Duration, top float64) {
	perSecond := stretch.Seconds()
	most := 1.0
	for i := range buckets {
		most = max(most, float64(buckets[i].ok+buckets[i].fail+buckets[i].unknown)/perSecond)
	}
	most = roundUp(most)
	c.text(left, top-8, "start", "operations a second:")
	legend := float64(left + 130)
	for _, l := range [][2]string{{colourOK, "ok"}, {colourFail, "refused"}, {colourUnknown, "unknown"}} {
		c.add(`<rect x="%.1f" y="%.1f" width="10" height="10" fill="%s"/>`, legend, top-17, l[0])
		c.text(legend+14, top-8, "start", l[1])
		legend += 74
	}
	for _, part := range []float64{0, 0.5, 1} {
		y := top + panelHeight*(1-part)
		c.add(`<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/>`, left, width-right, y, y, colourGrid)
		c.text(left-8, y+4, "end", fmt.Sprintf("%.4g", most*part))
	}
	for i := range buckets {
		b := &buckets[i]
		x := c.across(time.Duration(i) * stretch)
		w := max(0.5, c.across(time.Duration(i+1)*stretch)-x)
		y := top + panelHeight
		for _, part := range []struct {
			n      int
			colour string
		}{{b.ok, colourOK}, {b.fail, colourFail}, {b.unknown, colourUnknown}} {
			if part.n == 0 {
				continue
			}
			h := panelHeight * float64(part.n) / perSecond / most
			y -= h
			c.add(`<rect x="%.1f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x, y, w, h, part.colour)
		}
	}
}

// drawLatencies draws p50 and p99 on a logarithmic scale.
func (c *canvas) drawLatencies(buckets []bucket, stretch time.Duration, top float64) {
	least, most := time.Duration(math.MaxInt64), time.Duration(0)
	for i := range buckets {
		if l := buckets[i].latencies; len(l) > 0 {
			least, most = min(least, quantileOf(l, 0.5)), max(most, quantileOf(l, 0.99))
		}
	}
	low, high := math.Floor(math.Log10(max(1e-5, least.Seconds()))), math.Ceil(math.Log10(max(1e-5, most.Seconds())))
	if most == 0 {
		low, high = -3, 0
	}
	high = max(high, low+1)
	down := func(d time.Duration) float64 {
		part := (math.Log10(max(1e-5, d.Seconds())) - low) / (high - low)
		return top + panelHeight*(1-min(1, max(0, part)))
	}
	c.text(left, top-8, "start", "latency of what was acknowledged:")
	for i, l := range [][2]string{{colourOK, "p50"}, {colourHigh, "p99"}} {
		x := float64(left + 200 + 54*i)
		c.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="2"/>`, x, x+12, top-12, top-12, l[0])
		c.text(x+16, top-8, "start", l[1])
	}
	for power := low; power <= high; power++ {
		d := time.Duration(math.Pow(10, power) * float64(time.Second))
		c.add(`<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/>`, left, width-right, down(d), down(d), colourGrid)
		c.text(left-8, down(d)+4, "end", roundTime(d))
	}
	for _, line := range []struct {
		part   float64
		colour string
	}{{0.99, colourHigh}, {0.5, colourOK}} {
		var points []string
		flush := func() { // a stretch without answers leaves a gap
			if len(points) == 1 {
				points = append(points, points[0])
			}
			if len(points) > 0 {
				c.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5" stroke-linecap="round"/>`, strings.Join(points, " "), line.colour)
			}
			points = nil
		}
		for i := range buckets {
			if len(buckets[i].latencies) == 0 {
				flush()
				continue
			}
			x := c.across(time.Duration(i)*stretch + stretch/2)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, down(quantileOf(buckets[i].latencies, line.part))))
		}
		flush()
	}
}

// drawSeconds draws the axis of time.
func (c *canvas) drawSeconds(top, bottom float64) {
	step := time.Second
	for _, next := range []time.Duration{2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400} {
		if c.length/step > 12 {
			step = next * time.Second
		}
	}
	for t := time.Duration(0); t <= c.length; t += step {
		c.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="2 3"/>`, c.across(t), c.across(t), top, bottom, colourGrid)
		c.text(c.across(t), bottom+14, "middle", t.String())
	}
}

// roundUp is the next number of the form 1, 2 or 5 times a power of ten.
func roundUp(n float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(n)))
	for _, m := range []float64{1, 2, 5} {
		if n <= m*power {
			return m * power
		}
	}
	return 10 * power
}

// quantileOf is a quantile of ascending times.
func quantileOf(ascending []time.Duration, part float64) time.Duration {
	return ascending[min(len(ascending)-1, int(part*float64(len(ascending))))]
}
