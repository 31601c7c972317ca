package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// textTable lines up columns; the first row is the heading.
type textTable struct{ w *tabwriter.Writer }

func newTextTable(w io.Writer, heading ...string) *textTable {
	t := &textTable{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.addRow(heading...)
	return t
}

func (t *textTable) addRow(cells ...string) {
	for i, cell := range cells {
		if cell == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *textTable) flush() error { return t.w.Flush() }

// printJSON writes one object on one line.
func printJSON(w io.Writer, object any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(object)
}

// printObject writes one object for people as well as programs.
func printObject(w io.Writer, object any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(object)
}

// formatTime prints a time in UTC, so that two operators see the same.
func formatTime(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func formatDigest(digest uint64) string { return fmt.Sprintf("%016x", digest) }

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// isText says whether data can be shown to people as it is: UTF-8 without characters that steer a terminal.
func isText(data []byte) bool {
	return utf8.Valid(data) && !bytes.ContainsFunc(data, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r >= 0x7f && r < 0xa0
	})
}

// isTerminal says whether w is a terminal, where a person reads the output.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// escapeUnprintable keeps names that others chose from controlling the terminal.
func escapeUnprintable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, text)
}

// discardIf is w, or a writer that drops everything if its output is not wanted.
func discardIf(unwanted bool, w io.Writer) io.Writer {
	if unwanted {
		return io.Discard
	}
	return w
}
