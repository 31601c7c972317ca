package main

import (
	"errors"
	"os/exec"
	"strings"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// devNode is one life of one node's process.
type devNode struct {
	*nodeproc.Node
	number int
	pid    int
	ready  bool
}

// devEvent is something that a node's process did.
type devEvent struct {
	node *devNode
	kind devEventKind
	text string
}

type devEventKind int

const (
	nodeReady devEventKind = iota
	nodeWarned
	nodeEnded
)

// startNodeProcess starts a node's process. tell is called from other goroutines, at last once with nodeEnded; it must not be
// called any more after that.
func startNodeProcess(o devOptions, program string, number int, tell func(devEvent)) (*devNode, error) {
	node := &devNode{Node: o.prepareNode(program, number), number: number}
	var last string // the process's last line that was no log line, for the case that it fails
	node.OnReady = func() { tell(devEvent{node: node, kind: nodeReady}) }
	node.OnStderr = func(line string) {
		message, severe := readLogLine(line)
		if !severe {
			return
		}
		if said, ok := strings.CutPrefix(line, "profilenode: "); ok && last == "" {
			last = said
			return
		}
		tell(devEvent{node: node, kind: nodeWarned, text: message})
	}
	if err := node.Start(); err != nil {
		return nil, err
	}
	node.pid = node.PID()
	go func() {
		err := node.ExitError() // after the last lines
		tell(devEvent{node: node, kind: nodeEnded, text: describeExit(err, last)})
	}()
	return node, nil
}

func describeExit(err error, last string) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "stopped"
	case last != "":
		return "failed: " + last
	case errors.As(err, &exit):
		return "died (" + exit.String() + ")"
	}
	return "died: " + err.Error()
}

// readLogLine finds the lines of a node's log that people at the terminal should see: warnings, errors, and all that is no log
// line at all, such as a panic. Raft's lines about a lost node stay in the log: dev tells it in fewer words.
func readLogLine(line string) (message string, severe bool) {
	_, rest, isLog := strings.Cut(line, " level=")
	if !isLog || !strings.HasPrefix(line, "time=") {
		return line, strings.TrimSpace(line) != ""
	}
	level, message, _ := strings.Cut(rest, " ")
	message = strings.TrimPrefix(message, "msg=")
	return message, (level == "WARN" || level == "ERROR") && !strings.Contains(rest+" ", " from=raft ")
}
