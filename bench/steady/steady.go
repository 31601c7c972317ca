// Package steady counts the cost for living game servers of a failure detector that errs. docs/game-servers.md has its results.
//
// Nothing dies in a run. The network loses packets, processors may be busy, and steady.go watches the leader's account of the
// game servers meanwhile. report.go has the figures.
package steady

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/network"
)

// options say how the network is hurt, and for how long.
type options struct {
	lasts     time.Duration
	loss      int // percent
	cutGossip bool
	busy      bool
}

const (
	sessionCount = 100 // of each game server

	// A cut is healed for the rest of each minute, since nodes forget a member that has seemed dead for a minute.
	cutFor, cutEvery = 50 * time.Second, time.Minute

	lookEvery   = 250 * time.Millisecond
	reportEvery = 10 * time.Second
	meetLimit   = time.Minute // for gossip to find all game servers
)

// Command is "bench steady".
func Command() *cobra.Command {
	var o options
	command := testbed.Command(&cobra.Command{
		Use:   "steady",
		Short: "count living game servers that are taken for dead",
		Long: fmt.Sprintf(`steady runs %d nodes and %d game servers of %d sessions each, every one a process of its own, hurts their network, and
counts what that costs the game servers, all of which live: sessions lost, doubts, expiries. A session lost, an
incarnation ended or an expiry makes the exit code 1; so does a fault that hit nothing.

The game servers live in a network namespace; this program carries their packets from and to the nodes, and loses some:
--loss N is N %% of all UDP packets; --cut-gossip is every packet, UDP and TCP, between the nodes and the game
servers on their ports for gossip, for %v of each %v. It takes root and /dev/net/tun. Nothing of it has a name on disk.`,
			testbed.NodeCount, testbed.ServerCount, sessionCount, cutFor, cutEvery),
		Example: `  go run ./bench steady --for 10m --loss 10 --busy
  go run ./bench steady --for 10m --cut-gossip --json`,
		PreRunE: func(*cobra.Command, []string) error {
			if o.loss < 0 || o.loss > 99 || o.lasts < 10*time.Second {
				return errors.New("give --loss 0 to 99, and --for 10s or more")
			}
			return nil
		},
	}, o.measure)
	flags := command.Flags()
	flags.DurationVar(&o.lasts, "for", 10*time.Minute, "how long")
	flags.IntVar(&o.loss, "loss", 0, "lose this `percentage` of UDP packets")
	flags.BoolVar(&o.cutGossip, "cut-gossip", false, "cut the nodes off from game servers' gossip, and nothing else")
	flags.BoolVar(&o.busy, "busy", false, "keep every processor busy with other work")
	return command
}

func (o *options) measure(ctx context.Context, r *testbed.Run) (measure.Report, error) {
	s, err := network.OpenSwitch(1)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if o.busy {
		stop, err := testbed.KeepBusy(r.Folder)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	b, err := testbed.NewBed(ctx, r.Program, filepath.Join(r.Folder, "bed"),
		testbed.Layout{Sessions: sessionCount, Switch: s, ServerHosts: [testbed.ServerCount]int{1, 1, 1, 1}})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := waitUntilAllSeemAlive(ctx, b.Cluster); err != nil {
		return nil, err
	}
	fmt.Fprintln(r.Notes, "gossip knows all game servers: it begins")
	w := &watch{options: *o, bed: b, seemedDead: make(map[uint64]bool), terms: make(map[uint64]bool)}
	w.report = report{
		Machine: r.Machine, Loss: o.loss, CutGossip: o.cutGossip, Busy: o.busy, Sessions: testbed.ServerCount * sessionCount,
	}
	return &w.report, w.run(ctx, r)
}

// waitUntilAllSeemAlive waits until every game server seems alive to the leader's gossip: from then on it can seem dead.
func waitUntilAllSeemAlive(ctx context.Context, c *testbed.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, meetLimit)
	defer cancel()
	for {
		servers, _ := listServers(ctx, c)
		alive := 0
		for _, s := range servers {
			if s.GetGossip() == "alive" {
				alive++
			}
		}
		if alive == testbed.ServerCount {
			return nil
		}
		if measure.Sleep(ctx, lookEvery); ctx.Err() != nil {
			return fmt.Errorf("gossip knows %d of %d game servers", alive, testbed.ServerCount)
		}
	}
}

// listServers are the game servers that the leader knows; nil if no node says that it leads.
func listServers(ctx context.Context, c *testbed.Cluster) (servers []*profilev1.Server, term uint64) {
	for _, n := range c.Nodes {
		if s, err := n.Status(ctx); err == nil && s.GetState() == "leader" {
			if servers, err := n.GameServers(ctx); err == nil {
				return servers, s.GetTerm()
			}
		}
	}
	return nil, 0
}

// watch is a run under way.
type watch struct {
	options
	bed        *testbed.Bed
	report     report
	seemedDead map[uint64]bool // incarnations, at the last look
	terms      map[uint64]bool
}

// run hurts the network, and looks.
func (w *watch) run(ctx context.Context, r *testbed.Run) error {
	began := time.Now()
	last, reported := began, began
	for time.Since(began) < w.lasts {
		w.bed.Switch.Drop(w.filterAt(time.Since(began)))
		if measure.Sleep(ctx, lookEvery); ctx.Err() != nil {
			return errors.New("interrupted")
		}
		servers, term := listServers(ctx, w.bed.Cluster)
		passed := time.Since(last).Seconds()
		last = time.Now()
		if servers == nil {
			w.report.Unled += passed
			continue
		}
		w.terms[term] = true
		w.report.Leads = len(w.terms)
		w.noteServers(servers, passed)
		if time.Since(reported) >= reportEvery {
			reported = time.Now()
			if err := w.countSessions(ctx); err != nil {
				return err
			}
			fmt.Fprintf(r.Notes, "%v of %v: %s\n", time.Since(began).Round(time.Second), w.lasts, &w.report)
		}
	}
	w.bed.Switch.Drop(nil)
	measure.Sleep(ctx, 2*testbed.Lease) // an expiry may be on its way
	servers, _ := listServers(ctx, w.bed.Cluster)
	w.noteServers(servers, 0)
	w.report.Seconds = time.Since(began).Seconds()
	return w.countSessions(ctx)
}

// filterAt is the loss at a moment of the run.
func (w *watch) filterAt(passed time.Duration) network.Filter {
	switch {
	case w.cutGossip && passed%cutEvery < cutFor:
		return network.MatchPorts(w.bed.GossipPorts)
	case w.loss > 0:
		return network.MatchUDP(w.loss)
	}
	return nil
}

// noteServers counts the leader's account of the game servers; passed are the seconds since the last one.
func (w *watch) noteServers(servers []*profilev1.Server, passed float64) {
	ended := 0
	for _, s := range servers {
		if !s.GetAlive() {
			ended++
			continue
		}
		dead := s.GetGossip() == "dead"
		if dead && !w.seemedDead[s.GetIncarnation()] {
			w.report.Accused++
		}
		if w.seemedDead[s.GetIncarnation()] = dead; dead {
			w.report.Dead += passed
		}
		w.report.Silent = max(w.report.Silent, float64(s.GetSilentMs())/1000)
	}
	w.report.Ended = max(w.report.Ended, ended)
}

// countSessions asks every game server.
func (w *watch) countSessions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	answers, err := w.bed.DoOnAll(ctx, func(int) testbed.Order { return testbed.Order{Do: testbed.ReportSessions} })
	if err != nil {
		return err
	}
	w.report.SessionCounts = testbed.SessionCounts{}
	for _, all := range answers {
		w.report.SessionCounts.Add(all[0].Sessions)
	}
	w.report.Expiries = w.bed.Cluster.LogLines(testbed.ServerGone, time.Time{})
	w.report.Packets = w.bed.Switch.Dropped()
	return nil
}
