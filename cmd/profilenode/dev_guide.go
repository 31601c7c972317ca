package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// printGuide prints everything that a newcomer needs.
func (d *devLoop) printGuide() {
	o := d.options
	d.printLine("\nready\n")
	t := newTextTable(d.process.out, "NODE", "CLIENTS", "NODES", "GOSSIP", "HEALTH", "PID")
	for number := 1; number <= o.nodes; number++ {
		t.addRow(fmt.Sprint(number), o.nodeAddress(number, clientsPort), o.nodeAddress(number, nodesPort), o.nodeAddress(number, gossipPort),
			"http://"+o.nodeAddress(number, httpPort)+"/readyz", fmt.Sprint(d.nodes[number].pid))
	}
	_ = t.flush()
	d.printLine("\nin another terminal:")
	if o.nodeAddresses(clientsPort) != defaultAddr && o.nodes > 1 || o.base != devBase {
		d.printLine("  export %s=%s", addrVariable, o.nodeAddresses(clientsPort))
	}
	d.printLine("  %s", d.commandLine("status"))
	d.printLine("  go run ./examples/quickstart")
	d.printLine("  go run ./examples/gameserver")
	if o.nodes > 1 {
		d.printLine("\nkill a node, and see that the rest goes on:")
	} else {
		d.printLine("\nkill it, start it again, and see that nothing is lost:")
	}
	for number := 1; number <= o.nodes; number++ {
		d.printLine("  kill -9 %-8d# node %d%s", d.nodes[number].pid, number, d.leaderNote(number))
	}
	d.printLine("\nEnter starts again what has died, k N kills node N, Ctrl-C stops all.")
	d.printLine("Data stays in %s; --fresh starts with empty folders.\n", o.data)
}

func (d *devLoop) leaderNote(number int) string {
	if d.leader != "" && d.leader == d.options.nodeAddress(number, clientsPort) {
		return ", leads"
	}
	return ""
}

// onLeaderChange notes the leader, and prints it once all is running.
func (d *devLoop) onLeaderChange(leader string) {
	d.leader = leader
	if !d.guided {
		d.printIntroduction()
		return
	}
	for number := 1; number <= d.options.nodes; number++ {
		if d.leaderNote(number) != "" {
			d.printLine("node %d leads now", number)
			return
		}
	}
	d.printLine("no leader: more than half of the nodes must run")
}

// watchLeader tells the loop whenever another node leads, until ctx ends.
func (d *devLoop) watchLeader(ctx context.Context) {
	c := newClusterConn(splitCommaList(d.options.nodeAddresses(clientsPort)), nil, false)
	defer c.close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	leader, since := "", time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := ""
		for _, s := range c.askStatuses(ctx, c.seeds) {
			if s.status.GetState() == "leader" {
				now = s.address
			}
		}
		if now == leader {
			since = time.Now()
			continue
		}
		// Between two leaders there is none for a moment, which is no news.
		if now == "" && time.Since(since) < 5*time.Second {
			continue
		}
		select {
		case d.leaders <- now:
			leader, since = now, time.Now()
		case <-ctx.Done():
			return
		}
	}
}

// devBase is the first port unless another is named.
const devBase = 7400

// commandLine is how this program is called, with these arguments.
func (d *devLoop) commandLine(arguments string) string {
	program := os.Args[0]
	if strings.Contains(d.program, "go-build") {
		program = "go run ./cmd/profilenode"
	}
	if strings.HasPrefix(arguments, "dev ") && d.options.data != defaultDevData {
		arguments += " --data " + d.options.data
	}
	return program + " " + arguments
}
