package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// View shows one second after the other.
type View interface{ Show(Second) }

// NewView is a screen on a terminal, else a line for each second, or JSON if that is asked for.
func NewView(out *os.File, asJSON bool, name string) View {
	switch {
	case asJSON:
		return jsonLines{json.NewEncoder(out)}
	case isTerminal(out):
		return &screen{out: out, name: name, plain: os.Getenv("NO_COLOR") != ""}
	}
	return &lines{out: out}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && f.Name() != os.DevNull
}

type jsonLines struct{ out *json.Encoder }

func (j jsonLines) Show(s Second) { _ = j.out.Encode(s) }

type lines struct {
	out   io.Writer
	saves []int
}

func (l *lines) Show(s Second) {
	l.saves = latest(append(l.saves, s.Saves), 20)
	fmt.Fprintf(l.out, "%s  held %d doubt %d over %d  saves %d/s p50 %.1fms p99 %.1fms  joins p50 %.1fms p99 %.1fms  %s/s  node %s  gifts %d/%d  gap %.1fs longest %.1fs  errors %s  %s\n",
		clock(s.Runs), s.Held, s.InDoubt, s.Total.Over, s.Saves, s.P50, s.P99, s.JoinP50, s.JoinP99, size(s.Bytes), node(s),
		s.Total.GiftsSent, s.Total.GiftsHandled, s.Gap, s.Longest, errorsByKind(s.Total.Errors), sparkline(l.saves))
}

const (
	width   = 76 // fits a terminal of 80 columns
	maxRows = 5  // of the picture of sessions
)

const (
	bold, dim, green, yellow, red = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"
	reset                         = "\x1b[0m"
	wrapOff, wrapOn               = "\x1b[?7l", "\x1b[?7h"
)

// screen is drawn over itself: it goes up as many lines as it drew and writes them anew, so what was on the terminal
// before stays above it, and what comes after stands below it.
type screen struct {
	out   io.Writer
	name  string
	plain bool
	drawn int
	saves []int
}

func (v *screen) Show(s Second) {
	v.saves = latest(append(v.saves, s.Saves), width-18)
	var b strings.Builder
	b.WriteString(wrapOff)
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	rows := v.rows(s)
	for _, row := range rows {
		b.WriteString("\r" + row + "\x1b[K\n")
	}
	b.WriteString("\x1b[J" + wrapOn)
	v.drawn = len(rows)
	_, _ = io.WriteString(v.out, b.String())
}

func (v *screen) rows(s Second) []string {
	rows := []string{v.paint(bold, "arena "+v.name) + "   " + clock(s.Runs) + "   saves go to " + v.paint(bold, node(s)), ""}
	rows = append(rows, v.field(s.Seats)...)
	rows = append(rows, fmt.Sprintf("%s held %d   %s in doubt %d   %s joining %d   over %d (%s)",
		v.paint(green, "●"), s.Held, v.paint(yellow, "◐"), s.InDoubt, v.paint(dim, "○"), s.Joining, s.Total.Over, v.how(s.Total)), "")
	rows = append(rows,
		fmt.Sprintf("saves    %s %d/s", v.paint(green, sparkline(v.saves)), s.Saves),
		fmt.Sprintf("         p50 %.1f ms   p99 %.1f ms   %d acknowledged", s.P50, s.P99, s.Total.Saves))
	gap := fmt.Sprintf("gap      %.1f s now, longest %.1f s", s.Gap, s.Longest)
	if s.Gap > 2 {
		gap = v.paint(red, gap)
	}
	rows = append(rows, gap, fmt.Sprintf("joins    p50 %.1f ms   p99 %.1f ms   %d sessions", s.JoinP50, s.JoinP99, s.Total.Sessions))
	gifts := fmt.Sprintf("gifts    %d sent, %d handled", s.Total.GiftsSent, s.Total.GiftsHandled)
	if n := s.Total.GiftsTwice; n > 0 {
		gifts += v.paint(red, fmt.Sprintf(", %d TWICE", n))
	}
	rows = append(rows, gifts, "errors   "+errorsByKind(s.Total.Errors), "")
	rows = append(rows, fmt.Sprintf("data     %s/s saved", size(s.Bytes)))
	rows = append(rows, "")
	for _, e := range s.Events {
		rows = append(rows, v.paint(dim, e.At.Format(time.TimeOnly))+"  "+e.Text)
	}
	return append(rows, v.paint(dim, "Ctrl-C ends every session and saves it"))
}

// field is the arena from above: one mark for each seat.
func (v *screen) field(seats []Stand) []string {
	var rows []string
	for row := range slices.Chunk(seats, width) {
		if len(rows) == maxRows {
			return append(rows, v.paint(dim, fmt.Sprintf("... and %d more", len(seats)-maxRows*width)))
		}
		var b strings.Builder
		for _, stand := range row {
			switch stand {
			case Held:
				b.WriteString(v.paint(green, "●"))
			case InDoubt:
				b.WriteString(v.paint(yellow, "◐"))
			case Joining:
				b.WriteString(v.paint(dim, "○"))
			default:
				b.WriteString(" ")
			}
		}
		rows = append(rows, b.String())
	}
	return rows
}

// how says how sessions ended that the bots did not end.
func (v *screen) how(c Counts) string {
	text := fmt.Sprintf("%d moved", c.Moved)
	if c.Lost > 0 {
		text += v.paint(red, fmt.Sprintf(", %d LOST", c.Lost))
	}
	return text
}

func (v *screen) paint(colour, text string) string {
	if v.plain || text == "" {
		return text
	}
	return colour + text + reset
}

// sparkline draws numbers as bars, the largest full height, and every number but 0 at least the smallest bar.
func sparkline(numbers []int) string {
	const bars = "▁▂▃▄▅▆▇█"
	high := utf8.RuneCountInString(bars)
	most := max(1, slices.Max(append([]int{0}, numbers...)))
	var b strings.Builder
	for _, n := range numbers {
		if n <= 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune([]rune(bars)[(n*high-1)/most])
	}
	return b.String()
}

func latest(numbers []int, n int) []int { return numbers[max(0, len(numbers)-n):] }

func node(s Second) string {
	if s.Node == "" {
		return "?"
	}
	return s.Node
}

func errorsByKind(kinds map[string]int) string {
	var parts []string
	for kind, n := range kinds {
		parts = append(parts, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func clock(seconds float64) string {
	s := int(seconds)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

func size(bytes uint64) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%d B", bytes)
}
