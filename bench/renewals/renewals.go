// Package renewals measures the cost of thousands of game servers that only renew, and the storm when all of them lose the
// leader at once. docs/game-servers.md has its results.
//
// renewals.go has the command, and watch.go measures the nodes while it watches them. Game servers are clients of package
// client, thousands in a process: a fleet (fleet.go), whose members (member.go) are watched from outside, at their streams.
// fleets.go has the processes as seen by the command, report.go the figures.
package renewals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/nodeproc"
)

// options say what to measure.
type options struct {
	servers, sessions int
	watch             time.Duration
	killLeader        bool
	profile           string // file for the leader's CPU profile; empty: none is made
}

// fleetMost keeps a process below 20,000 open files, a usual limit.
const fleetMost = 2500

// Command is "bench renewals".
func Command() *cobra.Command {
	var o options
	command := testbed.Command(&cobra.Command{
		Use:   "renewals",
		Short: "measure the cost of thousands of game servers that only renew",
		Long: fmt.Sprintf(`renewals runs %d nodes, each a process of its own, and processes of up to %d game servers. Each game server has an
incarnation, a few sessions, a ping port, a warm connection to every node, and a stream on a connection of its own on
which it renews every second.

CPU is the kernel's account of each node while it was watched. In doubt are game servers without a confirmed renewal that
they sent within the last 3 s; ended are those that the cluster ended. The exit code is 1 if there was one of either.

With --kill-leader the leader is killed with -9 after half of that time: all game servers reconnect at once. Then those
in doubt are no fault, and the report says how long it took until all had renewed again. --profile is then of the two
nodes that are left, from the kill on: .1, .2 or .3 is added to the name.`, testbed.NodeCount, fleetMost),
		Example: `  go run ./bench renewals --servers 5000 --for 60s
  go run ./bench renewals --servers 5000 --for 30s --kill-leader --json`,
		PreRunE: func(*cobra.Command, []string) error {
			if o.servers < 1 || o.sessions < 0 || o.watch < 2*time.Second {
				return errors.New("it takes at least one game server and 2 s")
			}
			return nil
		},
	}, o.measure)
	flags := command.Flags()
	flags.IntVar(&o.servers, "servers", 5000, "game servers")
	flags.IntVar(&o.sessions, "sessions", 3, "sessions of each")
	flags.DurationVar(&o.watch, "for", time.Minute, "how long to watch")
	flags.BoolVar(&o.killLeader, "kill-leader", false, "kill -9 the leader after half of that time")
	flags.StringVar(&o.profile, "profile", "", "write a CPU profile of the leader to this `file`")
	return command
}

func (o *options) measure(ctx context.Context, r *testbed.Run) (measure.Report, error) {
	web, err := nodeproc.FreeAddresses(testbed.NodeCount)
	if err != nil {
		return nil, err
	}
	c, err := testbed.NewCluster(r.Program, filepath.Join(r.Folder, "nodes"), testbed.NodeCount, func(i int, n *nodeproc.Node) {
		n.Addresses.HTTP, n.Flags = web[i], []string{"--pprof"}
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	f := &fleets{cluster: c, notes: r.Notes}
	defer f.stop()
	if err := f.start(ctx, r.Folder, o.servers, o.sessions); err != nil {
		return nil, err
	}
	w := &watch{options: *o, cluster: c, fleets: f, notes: r.Notes}
	w.report = report{Machine: r.Machine, Servers: o.servers, Sessions: o.sessions, Nodes: make([]nodeFigures, testbed.NodeCount)}
	return &w.report, w.run(ctx)
}

// countGoroutines asks a node for its number of goroutines.
func countGoroutines(ctx context.Context, web string) (int, error) {
	text, err := fetch(ctx, "http://"+web+"/debug/pprof/goroutine?debug=1", 30*time.Second)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`^goroutine profile: total (\d+)`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("count goroutines: %.40q", text)
	}
	return strconv.Atoi(string(found[1]))
}

// profileCPU writes a node's CPU profile.
func profileCPU(ctx context.Context, web, file string, howLong time.Duration) error {
	seconds := max(1, int(howLong.Seconds()))
	text, err := fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", web, seconds), howLong+30*time.Second)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(file), text, 0o600)
}

func fetch(ctx context.Context, url string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return io.ReadAll(response.Body)
}
