//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/profilenode/profilenode/api/profilev1"
)

const (
	// mostLines bounds the log of a node from the filling of its disk until it has stopped. Raft logs more while others are
	// away.
	mostLines = 300

	exitFull = 3 // the exit code of profilenode serve for a full disk
)

func (n *nodeProcess) hasAlarm(ctx context.Context, code string) bool {
	s, err := n.askStatus(ctx)
	return err == nil && slices.ContainsFunc(s.GetAlarms(), func(a *profilev1.Alarm) bool { return a.GetCode() == code })
}

// checkAlarmLoggedOnce checks that a node has logged the beginning of an alarm, and once. Its end is no warning.
func (n *nodeProcess) checkAlarmLoggedOnce(from int64, code string) error {
	count := 0
	for line := range strings.Lines(string(n.logSince(from))) {
		if fieldOf(line, "code") == code && fieldOf(line, "level") == "WARN" {
			count++
		}
	}
	if count != 1 {
		return fmt.Errorf("%s logged %s %d times, want once", n.name, code, count)
	}
	return nil
}

// noteFullExit checks how a node ended after its disk was filled, and counts the cause.
func (t *crashRun) noteFullExit(n *nodeProcess, from int64) error {
	if err := n.checkFullExit(from); err != nil {
		return err
	}
	kind, err := exitKindIn(n.logSince(from))
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	t.result.Ends[kind]++
	return nil
}

// checkFullExit checks that a node ended with the exit code for a full disk, which no crash has, and logged little.
func (n *nodeProcess) checkFullExit(from int64) error {
	var exit *exec.ExitError
	if err := n.ExitError(); !errors.As(err, &exit) || exit.ExitCode() != exitFull {
		return fmt.Errorf("%s ended on a full disk with %v, want exit code %d: %s", n.name, err, exitFull, n.LastLines())
	}
	if lines := strings.Count(string(n.logSince(from)), "\n"); lines > mostLines {
		return fmt.Errorf("%s logged %d lines while its disk was full", n.name, lines)
	}
	return nil
}

// exitKind is the cause for which a node on a full disk stops.
type exitKind string

const (
	endHard   exitKind = "hard reserve"        // it measured too little space, and stopped in order
	endLog    exitKind = "last byte of log"    // a write was refused
	endTables exitKind = "last byte of tables" // the same
)

// exitKindIn reads the cause from the event with which a node says that it stops.
func exitKindIn(log nodeLog) (exitKind, error) {
	place := log.lastOf(codeStops)
	if place < 0 {
		return "", errors.New("it ended on a full disk, and its log does not have the cause")
	}
	line := log.lineAt(place)
	cause, part := fieldOf(line, "cause"), fieldOf(line, "part")
	switch {
	case cause == "HARD_RESERVE":
		return endHard, nil
	case cause == "DISK_FULL" && slices.Contains([]string{"log", "tables", "votes"}, part):
		return exitKind("last byte of " + part), nil
	}
	return "", fmt.Errorf("its disk is full, and the cause of its stop is unclear: %q", line)
}
