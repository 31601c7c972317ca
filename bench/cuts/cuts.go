// Package cuts measures how soon game servers save again after a network cut. docs/game-servers.md has its results.
//
// cuts.go has the command and the kinds of cuts, trial.go one cut and its measurement, report.go the figures.
package cuts

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/network"
)

const (
	sessionCount = 5                      // of each game server
	saveEvery    = 200 * time.Millisecond // each session
	saveLimit    = 30 * time.Second       // for a game server to save again

	goal = 4 * time.Second // a game server's first save after the heal is acknowledged within this
)

// Hosts are numbered: 1 to 3 have a node each, 4 has all game servers.
const (
	firstNodeHost = 1
	serverHost    = firstNodeHost + testbed.NodeCount
)

// options say what to cut, and for how long.
type options struct {
	lengths []time.Duration
	kinds   []string
	lanes   int
}

// kind is a cut of the links of one host.
type kind struct {
	name, description string
	leader            bool // the host is the leader's; else it is the game servers'
	out, in           bool // the directions
}

var kinds = []kind{
	{"servers", "the game servers' host from every node", false, true, true},
	{"servers-out", "packets that the game servers send", false, true, false},
	{"servers-in", "packets of the nodes to the game servers", false, false, true},
	{"leader", "the leader's host from everything", true, true, true},
	{"leader-out", "packets that the leader sends", true, true, false},
	{"leader-in", "packets to the leader", true, false, true},
}

// filter drops the packets of a cut.
func (k kind) filter(leaderHost int) network.Filter {
	host := serverHost
	if k.leader {
		host = leaderHost
	}
	var links []network.Pair
	for other := firstNodeHost; other <= serverHost; other++ {
		if k.out {
			links = append(links, network.Pair{From: host, To: other})
		}
		if k.in {
			links = append(links, network.Pair{From: other, To: host})
		}
	}
	return network.MatchPairs(links...)
}

// Command is "bench cuts".
func Command() *cobra.Command {
	var o options
	var names, described []string
	for _, k := range kinds {
		names = append(names, k.name)
		described = append(described, fmt.Sprintf("  %-12s %s", k.name, k.description))
	}
	command := testbed.Command(&cobra.Command{
		Use:   "cuts",
		Short: "measure how soon game servers save again after a network cut",
		Long: fmt.Sprintf(`cuts runs %d nodes, each on a host of its own, and %d game servers of %d sessions each on another host, cuts the
network between them, heals it, and measures for each game server how long after the heal its first save is
acknowledged. Packets are dropped; no host is told. The cuts:

%s

Hosts are network namespaces joined by a switch in this program, which takes root and /dev/net/tun; nothing of it has a
name on disk. A save that comes later than %v after the heal, or a session that is lost, makes the exit code 1.`,
			testbed.NodeCount, testbed.ServerCount, sessionCount, strings.Join(described, "\n"), goal),
		Example: `  go run ./bench cuts
  go run ./bench cuts --kinds servers,leader-in --lengths 8s,37s --json`,
		PreRunE: func(*cobra.Command, []string) error {
			_, err := o.makeTrials()
			return err
		},
	}, func(ctx context.Context, r *testbed.Run) (measure.Report, error) {
		trials, err := o.makeTrials()
		if err != nil {
			return nil, err
		}
		return &report{Machine: r.Machine, Trials: trials, goal: goal}, o.runTrials(ctx, r, trials)
	})
	flags := command.Flags()
	flags.DurationSliceVar(&o.lengths, "lengths", []time.Duration{2 * time.Second, 8 * time.Second, 16 * time.Second, 35 * time.Second, 50 * time.Second}, "how long to cut")
	flags.StringSliceVar(&o.kinds, "kinds", names, "`names` of the cuts")
	flags.IntVar(&o.lanes, "lanes", 3, "clusters that are tried side by side")
	return command
}

func (o *options) makeTrials() (trials []*trial, err error) {
	for _, name := range o.kinds {
		at := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no cut %q", name)
		}
		for _, length := range o.lengths {
			trials = append(trials, &trial{Kind: name, Length: length, kind: kinds[at]})
		}
	}
	if len(trials) == 0 || o.lanes < 1 {
		return nil, errors.New("give at least one length, one kind and one lane")
	}
	return trials, nil
}

// runTrials tries the cuts, the longest first, on as many clusters side by side as there are lanes.
func (o *options) runTrials(ctx context.Context, r *testbed.Run, trials []*trial) error {
	next := make(chan *trial, len(trials))
	for _, t := range slices.SortedStableFunc(slices.Values(trials), func(a, b *trial) int { return int(b.Length - a.Length) }) {
		next <- t
	}
	close(next)
	var lanes sync.WaitGroup
	errs := make([]error, min(o.lanes, len(trials)))
	for i := range errs {
		lanes.Go(func() { errs[i] = runLane(ctx, r, filepath.Join(r.Folder, fmt.Sprintf("lane-%d", i+1)), next) })
	}
	lanes.Wait()
	return errors.Join(errs...)
}
