package renewals

import (
	"context"
	"net/rpc"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

// openAtOnce is how many members register at a time.
const openAtOnce = 64

// fleet is a process with many game servers.
type fleet struct {
	members []*member
	opened  chan struct{} // closed when all have registered

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

// TakeFigures is a call: it returns the figures, once all members have registered.
func (f *fleet) TakeFigures(_ bool, taken *FleetFigures) error {
	<-f.opened
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
	var nodes []string
	var name string
	var net uint8
	var servers, sessions int
	command := &cobra.Command{
		Use:    "fleet",
		Short:  "be many game servers",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			// Elsewhere game servers have machines of their own, and take no CPU from the nodes: here they get the rest.
			if err := measure.LowerPriority(); err != nil {
				return err
			}
			f := &fleet{opened: make(chan struct{})}
			for i := range servers {
				f.members = append(f.members, &member{fleet: f, name: memberName(name, i), host: memberHost(net, i)})
			}
			calls := rpc.NewServer()
			if err := calls.RegisterName("Fleet", f); err != nil {
				return err
			}
			ended := make(chan error, 2)
			go func() {
				calls.ServeConn(testbed.Stdio{Reader: os.Stdin, WriteCloser: os.Stdout})
				ended <- nil
			}()
			go func() {
				if err := f.open(command.Context(), nodes, sessions); err != nil {
					ended <- err
				}
			}()
			return <-ended
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&nodes, "addr", nil, "client `addresses` of the nodes")
	flags.StringVar(&name, "name", "", "beginning of its game servers' names")
	flags.Uint8Var(&net, "net", 1, "second byte of its game servers' loopback addresses")
	flags.IntVar(&servers, "servers", 0, "game servers")
	flags.IntVar(&sessions, "sessions", 0, "sessions of each")
	return command
}

// open opens all members, each with some sessions.
func (f *fleet) open(ctx context.Context, nodes []string, sessions int) error {
	var opening errgroup.Group
	opening.SetLimit(openAtOnce)
	for _, m := range f.members {
		opening.Go(func() error { return m.open(ctx, nodes, sessions) })
	}
	defer close(f.opened)
	return opening.Wait()
}
