package renewals

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/bench/measure"
)

const (
	reportEvery = 100 * time.Millisecond
	openAtOnce  = 64 // members that register at a time
)

// fleet is a process with many game servers.
type fleet struct {
	members []*member

	mu  sync.Mutex
	now figures // but for At and Oldest
}

// figures is one line of a fleet. Counts are since it began.
type figures struct {
	Answered  uint64         `json:"answered"`
	Confirmed uint64         `json:"confirmed"`
	Differed  uint64         `json:"differed"`
	Opened    uint64         `json:"opened"` // streams
	Doubted   uint64         `json:"doubted"`
	Ended     uint64         `json:"ended"`   // incarnations, by the cluster
	Slowest   time.Duration  `json:"slowest"` // answer since the last line
	At        measure.Moment `json:"at"`
	Oldest    measure.Moment `json:"oldest"` // at which a last confirmed renewal was sent, of all members
}

// note changes the figures.
func (f *fleet) note(change func(now *figures)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.now)
}

// takeFigures are the figures for the next line.
func (f *fleet) takeFigures() (line figures) {
	f.note(func(now *figures) { line, now.Slowest = *now, 0 })
	line.At = measure.Now()
	line.Oldest = line.At
	for _, m := range f.members {
		line.Oldest = min(line.Oldest, measure.Moment(m.confirmed.Load()))
	}
	return line
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
			ctx, cancel := context.WithCancel(command.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				cancel()
			}()
			f := &fleet{}
			for i := range servers {
				f.members = append(f.members, &member{fleet: f, name: memberName(name, i), host: memberHost(net, i)})
			}
			err := f.run(ctx, nodes, sessions, os.Stdout)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
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

// run opens all members, each with some sessions, and then prints figures until ctx ends.
func (f *fleet) run(ctx context.Context, nodes []string, sessions int, out io.Writer) error {
	faults := make(chan error, len(f.members))
	places := make(chan struct{}, openAtOnce)
	var opening sync.WaitGroup
	for _, m := range f.members {
		places <- struct{}{}
		opening.Go(func() {
			if err := m.open(ctx, nodes, sessions); err != nil {
				faults <- err
			}
			<-places
		})
	}
	opening.Wait()
	line := json.NewEncoder(out)
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-faults:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := line.Encode(f.takeFigures()); err != nil {
				return err
			}
		}
	}
}
