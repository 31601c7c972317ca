package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// warnAgain is how long the same warning of the same node is not shown again; its log has every one.
const warnAgain = time.Minute

// devLoop owns the nodes of a dev. Everything that changes them happens in run, one thing after the other.
type devLoop struct {
	options devOptions
	program string
	process process

	events  chan devEvent
	asked   chan devRequest
	leaders chan string
	done    chan struct{} // run has ended

	nodes    map[int]*devNode // those with a running process
	guided   bool             // the newcomer has been told everything
	leader   string           // client address
	warnings map[string]time.Time
}

// devRequest is a command from a key or from another terminal.
type devRequest struct {
	line  string
	reply chan<- devReply // nil: a key, so the answer goes to this terminal
}

type devReply struct {
	text string
	err  error
}

func newDevLoop(o devOptions, program string, p process) *devLoop {
	return &devLoop{
		options: o, program: program, process: p,
		events: make(chan devEvent), asked: make(chan devRequest), leaders: make(chan string), done: make(chan struct{}),
		nodes: make(map[int]*devNode), warnings: make(map[string]time.Time),
	}
}

// run starts all nodes and keeps them until ctx ends. It returns once every process is gone. A node that ends before all
// were ready for the first time is an error: there is no cluster to try anything with.
func (d *devLoop) run(ctx context.Context) (err error) {
	defer close(d.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.printLine("starting %d nodes, data and logs in %s", d.options.nodes, d.options.data)
	for number := 1; number <= d.options.nodes && err == nil; number++ {
		err = d.startNode(number)
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		d.watchLeader(ctx)
	}()
	ignoreTerminalInputSignal()
	go d.readKeys() // ends with stdin, or with the process
	slow := time.After(15 * time.Second)
	for err == nil {
		select {
		case event := <-d.events:
			err = d.handleEvent(event)
		case asked := <-d.asked:
			text, err := d.runCommand(asked.line)
			d.answerRequest(asked, text, err)
		case leader := <-d.leaders:
			d.onLeaderChange(leader)
		case <-slow:
			d.printWaiting()
		case <-ctx.Done():
			d.printLine("stopping")
			d.stopAll()
			cancel()
			<-watching
			return nil
		}
	}
	d.stopAll()
	cancel()
	<-watching
	return err
}

func (d *devLoop) startNode(number int) error {
	node, err := startNodeProcess(d.options, d.program, number, func(event devEvent) { d.events <- event })
	if err != nil {
		return err
	}
	d.nodes[number] = node
	return nil
}

func (d *devLoop) handleEvent(event devEvent) error {
	number := event.node.number
	switch event.kind {
	case nodeReady:
		event.node.ready = true
		if d.guided {
			d.printLine("node %d is back (pid %d): kill -9 %d", number, event.node.pid, event.node.pid)
		} else {
			d.printIntroduction()
		}
	case nodeWarned:
		d.printWarning(number, event.text)
	case nodeEnded:
		delete(d.nodes, number)
		if !d.guided {
			return &hintedError{fmt.Errorf("node %d %s", number, event.text), "its log is " + d.options.logFile(number)}
		}
		d.printLine("node %d (pid %d) %s; start it again with Enter, or %s", number, event.node.pid, event.text, d.commandLine(fmt.Sprintf("dev --start %d", number)))
	}
	return nil
}

// printIntroduction tells the newcomer everything, once there is everything to tell.
func (d *devLoop) printIntroduction() {
	if !d.guided && d.leader != "" && d.allReady() {
		d.guided = true
		d.printGuide()
	}
}

func (d *devLoop) allReady() bool {
	if len(d.nodes) < d.options.nodes {
		return false
	}
	for _, node := range d.nodes {
		if !node.ready {
			return false
		}
	}
	return true
}

func (d *devLoop) printWaiting() {
	if d.guided {
		return
	}
	for number := 1; number <= d.options.nodes; number++ {
		if node := d.nodes[number]; node != nil && !node.ready {
			d.printLine("still waiting for node %d: its log is %s", number, d.options.logFile(number))
		}
	}
}

// printWarning shows a warning of a node, the same one only now and then.
func (d *devLoop) printWarning(number int, text string) {
	kind := fmt.Sprintf("%d %.40s", number, text)
	if time.Since(d.warnings[kind]) < warnAgain {
		return
	}
	d.warnings[kind] = time.Now()
	if short := []rune(text); len(short) > 160 {
		text = string(short[:160]) + "..."
	}
	fmt.Fprintf(d.process.err, "node %d: %s\n", number, text)
}

// stopAll ends every process in order and waits for it; one that does not end in time is killed.
func (d *devLoop) stopAll() {
	for _, node := range d.nodes {
		node.RequestStop()
	}
	late := time.After(stopLimit + 2*time.Second)
	for len(d.nodes) > 0 {
		select {
		case event := <-d.events:
			if event.kind == nodeEnded {
				delete(d.nodes, event.node.number)
			}
		case asked := <-d.asked:
			d.answerRequest(asked, "", errors.New("dev is stopping"))
		case <-d.leaders:
		case <-late:
			for _, node := range d.nodes {
				d.printLine("node %d does not stop, killing it", node.number)
				_ = node.SendKill()
			}
		}
	}
}

// requestCommand hands a command to run and waits for its answer.
func (d *devLoop) requestCommand(line string) (string, error) {
	reply := make(chan devReply, 1)
	select {
	case d.asked <- devRequest{line, reply}:
	case <-d.done:
		return "", errors.New("dev has stopped")
	}
	select {
	case r := <-reply:
		return r.text, r.err
	case <-d.done:
		return "", errors.New("dev has stopped")
	}
}

// runCommand carries out a command from the keyboard or another terminal: nothing (start dead nodes), N or start N, k N or
// kill N.
func (d *devLoop) runCommand(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return d.startDeadNodes()
	}
	verb, rest := words[0], words[1:]
	if _, err := strconv.Atoi(verb); err == nil {
		verb, rest = "start", words
	}
	usage := fmt.Errorf("not understood: Enter starts what has died, N starts node N, k N kills node N (1 to %d)", d.options.nodes)
	if len(rest) != 1 {
		return "", usage
	}
	number, err := strconv.Atoi(rest[0])
	if err != nil || number < 1 || number > d.options.nodes {
		return "", usage
	}
	node := d.nodes[number]
	switch verb {
	case "start":
		if node != nil {
			return "", fmt.Errorf("node %d runs already, pid %d", number, node.pid)
		}
		if err := d.startNode(number); err != nil {
			return "", err
		}
		return fmt.Sprintf("node %d started, pid %d", number, d.nodes[number].pid), nil
	case "k", "kill":
		if node == nil {
			return "", fmt.Errorf("node %d does not run", number)
		}
		if err := node.SendKill(); err != nil {
			return "", fmt.Errorf("kill node %d: %w", number, err)
		}
		return fmt.Sprintf("node %d killed, pid %d", number, node.pid), nil
	}
	return "", usage
}

func (d *devLoop) startDeadNodes() (string, error) {
	var started []string
	for number := 1; number <= d.options.nodes; number++ {
		if d.nodes[number] == nil {
			if err := d.startNode(number); err != nil {
				return "", err
			}
			started = append(started, fmt.Sprintf("node %d started, pid %d", number, d.nodes[number].pid))
		}
	}
	if len(started) == 0 {
		return "every node runs; k N kills node N, Ctrl-C stops all", nil
	}
	return strings.Join(started, "\n"), nil
}

// readKeys hands on the lines typed in this terminal.
func (d *devLoop) readKeys() {
	lines := bufio.NewScanner(d.process.in)
	for lines.Scan() {
		select {
		case d.asked <- devRequest{line: lines.Text()}:
		case <-d.done:
			return
		}
	}
}

func (d *devLoop) answerRequest(asked devRequest, text string, err error) {
	switch {
	case asked.reply != nil:
		asked.reply <- devReply{text, err}
	case err != nil:
		d.printLine("%v", err)
	default:
		d.printLine("%s", text)
	}
}

func (d *devLoop) printLine(format string, args ...any) {
	fmt.Fprintf(d.process.out, format+"\n", args...)
}
