package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// devOptions is a cluster on this machine.
type devOptions struct {
	data  string
	nodes int
	base  int // first port
}

func devCommand(p process) *cobra.Command {
	o := devOptions{}
	var fresh bool
	var startNode, killNode int
	command := &cobra.Command{
		Use:   "dev",
		Short: "run a whole cluster on this machine, to try things out",
		Long: `dev runs a cluster on loopback, each node a process of its own, until Ctrl-C or until its terminal closes
(SIGHUP; nohup keeps it). It needs no configuration.

Kill a node with kill -9, or type k and its number; Enter starts again what has died.
From another terminal: profilenode dev --start 2, profilenode dev --kill 2.`,
		Example: `  profilenode dev
  profilenode dev --nodes 5 --base-port 8400 --data /tmp/five
  profilenode dev --fresh`,
		Args: cobra.NoArgs,
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.IntVar(&o.nodes, "nodes", 3, "how many nodes: 1, 3 or 5; a folder that holds a cluster keeps its number")
	flags.StringVar(&o.data, "data", defaultDevData, "`folder` for everything; what is there goes on")
	flags.IntVar(&o.base, "base-port", devBase, "first port; each node takes five, ten apart")
	flags.BoolVar(&fresh, "fresh", false, "empty the folder first, if dev made it")
	flags.IntVar(&startNode, "start", 0, "tell the dev that runs on this folder to start node `N` again")
	flags.IntVar(&killNode, "kill", 0, "tell the dev that runs on this folder to kill -9 node `N`")
	command.RunE = runAct(func(ctx context.Context, _ []string) error {
		switch {
		case flags.Changed("start"):
			return sendDevCommand(p, o.data, fmt.Sprintf("start %d", startNode))
		case flags.Changed("kill"):
			return sendDevCommand(p, o.data, fmt.Sprintf("kill %d", killNode))
		}
		return runDev(ctx, o, fresh, flags.Changed("nodes"), flags.Changed("base-port"), p)
	})
	return command
}

// runDev makes everything ready and hands over to the loop.
func runDev(ctx context.Context, o devOptions, fresh, nodesChosen, baseChosen bool, p process) error {
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it, so that dev outlives its terminal
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	if err := o.validate(); err != nil {
		return &usageError{err}
	}
	if isDevRunning(o.data) {
		return &hintedError{fmt.Errorf("profilenode dev runs on %s already", o.data), "stop it with Ctrl-C, or name another folder with --data and other ports with --base-port"}
	}
	o, prepare, err := planDevFolder(o, fresh, nodesChosen, baseChosen)
	if err != nil {
		return err
	}
	if err := o.checkPorts(); err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	loop := newDevLoop(o, program, p)
	control, err := listenControl(o.data, loop.requestCommand)
	if err != nil {
		fmt.Fprintf(p.err, "dev --start and --kill are not available: %v\n", err)
	} else {
		defer control.close()
	}
	return loop.run(ctx)
}

func (o devOptions) validate() error {
	var faults []error
	if o.nodes != 1 && o.nodes != 3 && o.nodes != 5 {
		faults = append(faults, fmt.Errorf("nodes %d is none of 1, 3 and 5: an even number bears no more failures than one fewer", o.nodes))
	}
	if last := o.base + 10*(o.nodes-1) + int(serverGossipPort); o.base < 1 || last > 65535 {
		faults = append(faults, fmt.Errorf("base-port %d leaves no room: it and the %d ports above must lie between 1 and 65535", o.base, last-o.base))
	}
	if o.data == "" {
		faults = append(faults, errors.New("data is empty: name a folder"))
	}
	return errors.Join(faults...)
}

// nodeAddress is where one of a node's five ports is.
func (o devOptions) nodeAddress(node int, port devPort) string {
	return fmt.Sprintf("127.0.0.1:%d", o.base+10*(node-1)+int(port))
}

// devPort is a port's place among a node's five.
type devPort int

const (
	clientsPort devPort = iota
	nodesPort
	gossipPort
	httpPort
	serverGossipPort
)

func (port devPort) String() string {
	return [...]string{"clients", "nodes", "gossip", "HTTP", "game servers' gossip"}[port]
}

// nodeAddresses is that port of every node, separated by commas.
func (o devOptions) nodeAddresses(port devPort) string {
	var all []string
	for node := 1; node <= o.nodes; node++ {
		all = append(all, o.nodeAddress(node, port))
	}
	return strings.Join(all, ",")
}

// prepareNode is a node as the options have it, to be started once.
func (o devOptions) prepareNode(program string, node int) *nodeproc.Node {
	return &nodeproc.Node{
		Program: program,
		Folder:  filepath.Join(o.data, fmt.Sprintf("node%d", node)),
		Addresses: nodeproc.Addresses{
			Clients: o.nodeAddress(node, clientsPort), Nodes: o.nodeAddress(node, nodesPort), Gossip: o.nodeAddress(node, gossipPort),
			HTTP: o.nodeAddress(node, httpPort), ServerGossip: o.nodeAddress(node, serverGossipPort),
		},
		Members: strings.Split(o.nodeAddresses(nodesPort), ","),
		Log:     o.logFile(node),
	}
}
