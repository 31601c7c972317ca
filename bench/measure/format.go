package measure

import (
	"fmt"
	"strings"
	"time"
)

// Millis is a duration in milliseconds.
func Millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// FormatDuration writes a time in about three digits.
func FormatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 10*time.Millisecond:
		return formatNumber(float64(d)/float64(time.Millisecond), 2) + " ms"
	case d < time.Second:
		return formatNumber(float64(d)/float64(time.Millisecond), 0) + " ms"
	}
	return formatNumber(d.Seconds(), 2) + " s"
}

// formatNumber leaves out zeros behind the point.
func formatNumber(value float64, digits int) string {
	text := fmt.Sprintf("%.*f", digits, value)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// FormatSize writes a number of bytes.
func FormatSize(bytes uint64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
