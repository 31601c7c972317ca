package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// guide prints everything that a newcomer needs.
func (d *devLoop) guide() {
	o := d.options
	d.say("\nready\n")
	t := newTable(d.process.out, "NODE", "CLIENTS", "NODES", "GOSSIP", "HEALTH", "PID")
	for number := 1; number <= o.nodes; number++ {
		t.row(fmt.Sprint(number), o.address(number, clientsPort), o.address(number, nodesPort), o.address(number, gossipPort),
			"http://"+o.address(number, httpPort)+"/readyz", fmt.Sprint(d.nodes[number].pid))
	}
	_ = t.end()
	d.say("\nin another terminal:")
	if o.addresses(clientsPort) != defaultAddr && o.nodes > 1 || o.base != devBase {
		d.say("  export %s=%s", addrVariable, o.addresses(clientsPort))
	}
	d.say("  %s", d.invocation("status"))
	d.say("  go run ./examples/quickstart")
	d.say("  go run ./examples/gameserver")
	if o.nodes > 1 {
		d.say("\nkill a node, and see that the rest goes on:")
	} else {
		d.say("\nkill it, start it again, and see that nothing is lost:")
	}
	for number := 1; number <= o.nodes; number++ {
		d.say("  kill -9 %-8d# node %d%s", d.nodes[number].pid, number, d.leadingNote(number))
	}
	d.say("\nEnter starts again what has died, k N kills node N, Ctrl-C stops all.")
	d.say("Data stays in %s; begin anew with --fresh.\n", o.data)
}

func (d *devLoop) leadingNote(number int) string {
	if d.leader != "" && d.leader == d.options.address(number, clientsPort) {
		return ", leads"
	}
	return ""
}

// leads notes who leads, and says so once all is running.
func (d *devLoop) leads(leader string) {
	d.leader = leader
	if !d.guided {
		d.introduce()
		return
	}
	for number := 1; number <= d.options.nodes; number++ {
		if d.leadingNote(number) != "" {
			d.say("node %d leads now", number)
			return
		}
	}
	d.say("no leader: more than half of the nodes must run")
}

// watchLeader tells the loop whenever another node leads, until ctx ends.
func (d *devLoop) watchLeader(ctx context.Context) {
	c := newConn(splitList(d.options.addresses(clientsPort)), nil, false)
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
		for _, s := range c.statuses(ctx, c.seeds) {
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

// invocation is how this program is called, with these arguments.
func (d *devLoop) invocation(arguments string) string {
	program := os.Args[0]
	if strings.Contains(d.program, "go-build") {
		program = "go run ./cmd/profilenode"
	}
	if strings.HasPrefix(arguments, "dev ") && d.options.data != defaultDevData {
		arguments += " --data " + d.options.data
	}
	return program + " " + arguments
}
