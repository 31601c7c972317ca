package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// devNode is one life of one node's process.
type devNode struct {
	number  int
	pid     int
	ready   bool
	process *os.Process
	stdin   io.Closer // its end tells the process to stop
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
// called any more after that. The process ends with this one, however this one ends, since its stdin does.
func startNodeProcess(o devOptions, program string, number int, environ []string, tell func(devEvent)) (*devNode, error) {
	log, err := os.OpenFile(o.logFile(number), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	command := exec.Command(program, o.nodeArguments(number)...)
	command.Env = dropSettings(environ)
	command.SysProcAttr = inOwnProcessGroup()
	stdin, err := command.StdinPipe()
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	node := &devNode{number: number, stdin: stdin}
	var last string // the process's last line that was no log line, for the case that it fails
	command.Stdout = &lineWriter{line: func(line string) {
		if strings.HasPrefix(line, "ready ") {
			tell(devEvent{node: node, kind: nodeReady})
		}
	}}
	command.Stderr = &lineWriter{line: func(line string) {
		fmt.Fprintln(log, line)
		message, severe := readLogLine(line)
		if !severe {
			return
		}
		if said, ok := strings.CutPrefix(line, "profilenode: "); ok && last == "" {
			last = said
			return
		}
		tell(devEvent{node: node, kind: nodeWarned, text: message})
	}}
	if err := command.Start(); err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start node %d: %w", number, err)
	}
	node.process, node.pid = command.Process, command.Process.Pid
	go func() {
		err := command.Wait() // also waits for the last lines
		_ = log.Close()
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

// dropSettings keeps variables that are meant for another node from the nodes of dev, which need no configuration.
func dropSettings(environ []string) (kept []string) {
	for _, line := range environ {
		if !strings.HasPrefix(line, variablePrefix) {
			kept = append(kept, line)
		}
	}
	return kept
}

// readLogLine finds the lines of a node's log that people at the terminal should see: warnings, errors, and all that is no log
// line at all, such as a panic. What raft says when a node is lost stays in the log: dev tells it in fewer words.
func readLogLine(line string) (message string, severe bool) {
	_, rest, isLog := strings.Cut(line, " level=")
	if !isLog || !strings.HasPrefix(line, "time=") {
		return line, strings.TrimSpace(line) != ""
	}
	level, message, _ := strings.Cut(rest, " ")
	message = strings.TrimPrefix(message, "msg=")
	return message, (level == "WARN" || level == "ERROR") && !strings.HasPrefix(message, `"raft: `)
}

// lineWriter hands on whole lines.
type lineWriter struct {
	line func(string)
	rest []byte
}

// maxLine bounds a line, in bytes; longer ones are handed on in pieces.
const maxLine = 64 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole && len(line) < maxLine {
			return len(p), nil
		}
		w.line(string(line))
		w.rest = append(w.rest[:0], rest...)
	}
}
