package report

import (
	"fmt"
	"html/template"
	"time"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/check"
)

// drawShares draws the outcomes of one action as a bar.
func drawShares(o check.Outcomes) template.HTML {
	const length = 200.0
	all := float64(max(1, o.OK+o.Fail+o.Unknown))
	c := &canvas{}
	x := 0.0
	for _, part := range []struct {
		n      int
		colour string
	}{{o.OK, colourOK}, {o.Fail, colourFail}, {o.Unknown, colourUnknown}} {
		w := length * float64(part.n) / all
		c.add(`<rect x="%.1f" y="1" width="%.1f" height="10" fill="%s"/>`, x, w, part.colour)
		x += w
	}
	return template.HTML(fmt.Sprintf(`<svg class="small" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f 12" width="%.0f" height="12">%s</svg>`, length, length, c.String()))
}

// drawTimes draws each recovery as a dot, and the bound as a line.
func drawTimes(times []time.Duration, bound, most time.Duration) template.HTML {
	const length = 360.0
	at := func(d time.Duration) float64 { return 4 + (length-8)*float64(d)/float64(most) }
	c := &canvas{}
	c.add(`<line x1="4" x2="%.0f" y1="7" y2="7" stroke="%s"/>`, length-4, colourGrid)
	for _, d := range times {
		c.add(`<circle cx="%.1f" cy="7" r="3" fill="%s" fill-opacity="0.5"/>`, at(d), colourOK)
	}
	if bound > 0 {
		c.add(`<line x1="%.1f" x2="%.1f" y1="0" y2="14" stroke="%s" stroke-width="2"/>`, at(bound), at(bound), colourHigh)
	}
	return template.HTML(fmt.Sprintf(`<svg class="small" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f 14" width="%.0f" height="14">%s</svg>`, length, length, c.String()))
}
