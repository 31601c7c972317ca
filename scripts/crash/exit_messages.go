//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/profilenode/profilenode/api/profilev1"
)

// What the nodes say. Each names what is wrong and what to do.
const (
	mostLines = 300 // of a node from when its disk is full until it has stopped; raft says more while others are away

	wordsShort   = "less than its reserve of 1024 MiB: free some space"
	wordsHard    = "less than the hard reserve of 128 MiB: free some space and start this node again"
	wordsLast    = "no space left on device"
	wordsDo      = "free some space"
	wordsRefused = "the disks of too many nodes are nearly full"

	codeShort   = "DISK_LOW"
	codeRefused = "SAVES_REFUSED"
)

func (n *nodeProcess) hasAlarm(ctx context.Context, code string) bool {
	s, err := n.askStatus(ctx)
	return err == nil && slices.ContainsFunc(s.GetAlarms(), func(a *profilev1.Alarm) bool { return a.GetCode() == code })
}

// checkLoggedOnce looks that a node's log has a line, and has it once.
func (n *nodeProcess) checkLoggedOnce(from int64, words string) error {
	if count := strings.Count(string(n.logSince(from)), words); count != 1 {
		return fmt.Errorf("%s said %d times, want once: %s", n.name, count, words)
	}
	return nil
}

// checkExitMessage looks at what a node said since its disk was filled, and counts what it stopped at.
func (t *crashRun) checkExitMessage(n *nodeProcess, from int64) error {
	last, err := n.exitMessage(from)
	if err != nil {
		return err
	}
	end, err := exitKindOf(last)
	if err != nil {
		return err
	}
	t.verdict.Ends[end]++
	return nil
}

// exitMessage wants a node that ended to have said in its last line what is wrong and what to do, and little else.
func (n *nodeProcess) exitMessage(from int64) (last string, err error) {
	text := strings.TrimSpace(string(n.logSince(from)))
	last = text[strings.LastIndexByte(text, '\n')+1:]
	lines := strings.Count(text, "\n") + 1
	switch {
	case !strings.HasPrefix(last, "profilenode: ") || !strings.Contains(last, wordsDo):
		return "", fmt.Errorf("the last words of %s on a full disk do not say what to do: %q", n.name, last)
	case strings.Contains(text, "\ngoroutine "):
		return "", fmt.Errorf("%s ended on a full disk with a stack trace", n.name)
	case lines > mostLines:
		return "", fmt.Errorf("%s said %d lines while its disk was full", n.name, lines)
	}
	return last, nil
}

// exitKind is what a node on a full disk stops at.
type exitKind string

const (
	endHard   exitKind = "hard reserve"        // it looked, and stopped in order
	endLog    exitKind = "last byte of log"    // a write of it was refused
	endTables exitKind = "last byte of tables" // the same
	endVotes  exitKind = "last byte of votes"  // the same
)

func exitKindOf(last string) (exitKind, error) {
	switch {
	case strings.Contains(last, wordsHard):
		return endHard, nil
	case strings.Contains(last, wordsLast+":") && strings.Contains(last, "/data/log/"):
		return endLog, nil
	case strings.Contains(last, wordsLast+":") && strings.Contains(last, "/data/tables/"):
		return endTables, nil
	case strings.Contains(last, wordsLast+":") && strings.Contains(last, "/data/raft.db"):
		return endVotes, nil
	}
	return "", fmt.Errorf("a full disk, and what stopped the node is unclear: %q", last)
}
