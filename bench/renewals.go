package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/internal/nodeproc"
)

// renewalsOptions is what to measure, and how to tell.
type renewalsOptions struct {
	servers, sessions int
	watch             time.Duration
	killLeader        bool
	program           string
	profile           string // where the leader's CPU profile goes; empty: none is made
	asJSON            bool
}

// fleetMost keeps a process below 20,000 open files, a usual limit.
const fleetMost = 2500

func renewalsCommand() *cobra.Command {
	var c renewalsOptions
	command := &cobra.Command{
		Use:   "renewals",
		Short: "measure what thousands of game servers cost that only renew",
		Long: fmt.Sprintf(`renewals runs %d nodes, each a process of its own, and processes of up to %d game servers. Each game server has an
incarnation, a few sessions, a ping port, a warm connection to every node, and a stream on a connection of its own on
which it renews every second.

CPU is what the kernel charged to each node while it was watched. In doubt is who had no renewal proved that it sent
within the last 3 s; ended is whom the cluster ended. The exit code is 1 if there was anybody of either.

With --kill-leader the leader is killed with -9 after half of that time: all game servers reconnect at once. Then those
in doubt are no fault, and it tells how long it took until everybody had renewed again. --profile is then of the two nodes
that are left, from the kill on: .1, .2 or .3 is added to the name.`, bedNodes, fleetMost),
		Example: `  go run ./bench renewals --servers 5000 --for 60s
  go run ./bench renewals --servers 5000 --for 30s --kill-leader --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.measureRenewals(command.Context(), os.Stdout, os.Stderr)
		},
	}
	flags := command.Flags()
	flags.IntVar(&c.servers, "servers", 5000, "game servers")
	flags.IntVar(&c.sessions, "sessions", 3, "sessions of each")
	flags.DurationVar(&c.watch, "for", time.Minute, "how long to watch")
	flags.BoolVar(&c.killLeader, "kill-leader", false, "kill -9 the leader after half of that time")
	flags.StringVar(&c.program, "program", "", "profilenode `file` to run (default: built from source)")
	flags.StringVar(&c.profile, "profile", "", "write a CPU profile of the leader to this `file`")
	flags.BoolVar(&c.asJSON, "json", false, "print one JSON object and nothing else")
	return command
}

func (c renewalsOptions) measureRenewals(ctx context.Context, out, notes io.Writer) (err error) {
	if c.servers < 1 || c.sessions < 0 || c.watch < 2*time.Second {
		return errors.New("it takes at least one game server and 2 s")
	}
	dir, err := makeWorkFolder(ctx, &c.program, notes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	nodes, err := newNodes(c.program, dir, bedNodes)
	if err != nil {
		return err
	}
	defer closeNodes(nodes)
	web, err := nodeproc.FreeAddresses(len(nodes))
	if err != nil {
		return err
	}
	for i, n := range nodes {
		n.Addresses.HTTP, n.Flags = web[i], []string{"--pprof"}
		if err := n.Start(); err != nil {
			return err
		}
	}
	if _, err := findLeader(ctx, nodes); err != nil {
		return err
	}
	s := &fleetProcesses{renewalsOptions: c, nodes: nodes, web: web, notes: notes}
	defer s.stopFleets()
	if err := s.startFleets(ctx, dir); err != nil {
		return err
	}
	leads, err := findLeader(ctx, nodes) // while thousands entered it may have changed
	if err != nil {
		return err
	}
	r, err := s.watchRenewals(ctx, leads)
	if err != nil {
		return err
	}
	if c.asJSON {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", text)
	} else {
		r.printReport(out)
	}
	return r.checkGoals()
}

// countGoroutines asks a node for its number of goroutines.
func countGoroutines(ctx context.Context, web string) (int, error) {
	text, err := fetchURL(ctx, "http://"+web+"/debug/pprof/goroutine?debug=1", 30*time.Second)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`^goroutine profile: total (\d+)`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("count goroutines: %.40q", text)
	}
	return int(parseNumber(string(found[1]))), nil
}

// profileCPU writes a node's CPU profile.
func profileCPU(ctx context.Context, web, file string, howLong time.Duration) error {
	seconds := max(1, int(howLong.Seconds()))
	text, err := fetchURL(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", web, seconds), howLong+30*time.Second)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(file), text, 0o600)
}

func fetchURL(ctx context.Context, url string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Body.Close() }()
	return io.ReadAll(a.Body)
}
