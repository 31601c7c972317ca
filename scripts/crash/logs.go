//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"time"
)

// Codes of events and alarms in a node's log (docs/alarms.md). Its wording may change.
const (
	codeFollows           = "FOLLOWS"
	codeSnapshotBegins    = "SNAPSHOT_BEGINS"
	codeSnapshotComplete  = "SNAPSHOT_COMPLETE"
	codeSnapshotFailed    = "SNAPSHOT_FAILED"
	codeLogCut            = "LOG_CUT"
	codeSnapshotReceived  = "SNAPSHOT_RECEIVED"
	codeSnapshotInstalled = "SNAPSHOT_INSTALLED"
	codeStops             = "STOPS"
	codeDiskLow           = "DISK_LOW"
	codeSavesRefused      = "SAVES_REFUSED"
	codeDiskHangs         = "DISK_HANGS"
)

// nodeLog is the text of a node's log from some place on, one line for each event.
type nodeLog []byte

// logSince reads a node's log from a place on. A log that cannot be read is empty.
func (n *nodeProcess) logSince(from int64) nodeLog {
	file, err := os.Open(n.Log)
	if err != nil {
		return nil
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil
	}
	text, _ := io.ReadAll(file) // the part that can be read is enough
	return text
}

func (n *nodeProcess) logBytes() int64 {
	info, err := os.Stat(n.Log)
	if err != nil {
		return 0
	}
	return info.Size()
}

func codeField(code string) []byte { return []byte(" code=" + code) }

// lastOf is the place of the last event with a code, -1 if there is none.
func (l nodeLog) lastOf(code string) int { return bytes.LastIndex(l, codeField(code)) }

func (l nodeLog) countOf(code string) int { return bytes.Count(l, codeField(code)) }

// lineAt is the line around a place.
func (l nodeLog) lineAt(place int) string {
	line, _, _ := bytes.Cut(l[bytes.LastIndexByte(l[:place], '\n')+1:], []byte("\n"))
	return string(line)
}

// timeAt is the time of the line around a place.
func (l nodeLog) timeAt(place int) time.Time {
	at, err := time.Parse(time.RFC3339Nano, fieldOf(l.lineAt(place), "time"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// fieldOf is the value of a field in a line of a log, empty if the line lacks it.
func fieldOf(line, name string) string {
	for word := range strings.FieldsSeq(line) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// waitForEvent returns once a node logs an event, or after momentWait.
func (n *nodeProcess) waitForEvent(ctx context.Context, code string) {
	from := n.logBytes()
	pollFor(ctx, momentWait, func() bool { return n.logBytes() > from && n.logSince(from).lastOf(code) >= 0 })
}

// pollFor returns once done returns true, the limit has passed, or ctx ends.
func pollFor(ctx context.Context, limit time.Duration, done func() bool) {
	for until := time.Now().Add(limit); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if done() {
			return
		}
	}
}

// countSnapshots counts the snapshots that nodes installed from another, and those that they took themselves.
func (c *nodeCluster) countSnapshots() (installed, taken int) {
	for _, n := range c.nodes {
		log := n.logSince(0)
		installed += log.countOf(codeSnapshotInstalled)
		taken += log.countOf(codeSnapshotComplete)
	}
	return installed, taken
}
