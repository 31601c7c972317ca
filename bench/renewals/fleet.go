package renewals

import (
	"context"
	"fmt"
	"net/rpc"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

const (
	openAtOnce  = 64 // members that register at a time
	startAtOnce = 16 // sessions that one of them starts at a time

	// openLimit is for all of them, so that the process does not outlive the command for longer; openMore is for each session.
	openLimit = 5 * time.Minute
	openMore  = 5 * time.Millisecond
)

// fleet is a process with many game servers.
type fleet struct {
	members []*member

	mu  sync.Mutex
	now FleetFigures // but for At and Oldest
}

// FleetFigures are of one fleet or of all. Counts are since it began.
type FleetFigures struct {
	Answered, Confirmed, Differed uint64
	Opened                        uint64 // streams
	Doubted                       uint64
	Ended                         uint64         // incarnations, by the cluster
	Slowest                       time.Duration  // answer since the last call
	At                            measure.Moment // of the call
	Oldest                        measure.Moment // at which a last confirmed renewal was sent, of all members
}

// note changes the figures.
func (f *fleet) note(change func(now *FleetFigures)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.now)
}

// FleetOptions are the game servers of a fleet.
type FleetOptions struct {
	Nodes             []string // client addresses
	Name              string   // beginning of the game servers' names
	Net               uint8    // second byte of their loopback addresses
	Servers, Sessions int      // sessions of each
}

// Open is a call, the first one. It opens all members, each with some sessions.
func (f *fleet) Open(o FleetOptions, _ *bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), openLimit+time.Duration(o.Servers*o.Sessions)*openMore)
	defer cancel()
	var opening errgroup.Group
	opening.SetLimit(openAtOnce)
	for i := range o.Servers {
		m := &member{fleet: f, name: fmt.Sprintf("%s-%d", o.Name, i), host: memberHost(o.Net, i)}
		f.members = append(f.members, m)
		opening.Go(func() error { return m.open(ctx, o.Nodes, o.Sessions) })
	}
	return opening.Wait()
}

// TakeFigures is a call.
func (f *fleet) TakeFigures(_ bool, taken *FleetFigures) error {
	f.note(func(now *FleetFigures) { *taken, now.Slowest = *now, 0 })
	taken.At = measure.Now()
	taken.Oldest = taken.At
	for _, m := range f.members {
		taken.Oldest = min(taken.Oldest, measure.Moment(m.confirmed.Load()))
	}
	return nil
}

// FleetCommand is the process of a fleet, which ends with its stdin.
func FleetCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "fleet",
		Short:  "be many game servers",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			// Elsewhere game servers have machines of their own, and take no CPU from the nodes: here they get the rest.
			if err := measure.LowerPriority(); err != nil {
				return err
			}
			calls := rpc.NewServer()
			if err := calls.RegisterName("Fleet", &fleet{}); err != nil {
				return err
			}
			calls.ServeConn(testbed.Stdio{Reader: os.Stdin, WriteCloser: os.Stdout})
			return nil
		},
	}
}
