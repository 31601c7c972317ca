package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/profilenode/profilenode/api/profilev1"
)

const (
	renewalStore = "renewals"
	fleetTells   = 100 * time.Millisecond // how often a fleet says how it is
	enterAtOnce  = 64                     // members that register at a time
)

// serverFleet is a process with many game servers.
type serverFleet struct {
	nodes   []string
	members []*fleetMember

	answered, proven, differed, opened atomic.Uint64
	slowest                            atomic.Int64 // answer since the last line
	doubted                            atomic.Uint64
}

// fleetFigures is what a fleet says of itself. Counts are since it began.
type fleetFigures struct {
	Answered uint64        `json:"answered"`
	Proven   uint64        `json:"proven"`
	Differed uint64        `json:"differed"`
	Opened   uint64        `json:"opened"` // streams
	Doubted  uint64        `json:"doubted"`
	Ended    uint64        `json:"ended"`
	Slowest  time.Duration `json:"slowest"` // answer since the last line
	At       monotonicTime `json:"at"`
	Oldest   monotonicTime `json:"oldest"` // when the renewal left that is the last one proved of whoever is worst off
}

// fleetCommand is a process that renewals starts. It ends with its stdin.
func fleetCommand() *cobra.Command {
	var nodes []string
	var name string
	var net uint8
	var servers, sessions int
	command := &cobra.Command{
		Use:    "fleet",
		Short:  "be many game servers of renewals, which starts it",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			// In life they are on machines of their own, and take no CPU from the nodes: here they get what these leave.
			if err := lowerPriority(); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(command.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				cancel()
			}()
			err := runFleet(ctx, nodes, name, net, servers, sessions, os.Stdout)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&nodes, "addr", nil, "client `addresses` of the nodes")
	flags.StringVar(&name, "name", "", "what the names of its game servers begin with")
	flags.Uint8Var(&net, "net", 1, "second byte of its game servers' loopback addresses")
	flags.IntVar(&servers, "servers", 0, "game servers")
	flags.IntVar(&sessions, "sessions", 0, "sessions of each")
	return command
}

// runFleet registers everybody, and then says how they are until ctx ends. A game server renews from its registration on.
func runFleet(ctx context.Context, nodes []string, name string, net uint8, servers, sessions int, out io.Writer) error {
	f := &serverFleet{nodes: nodes}
	for i := range servers {
		m, err := newFleetMember(f, fmt.Sprintf("%s-%d", name, i), memberHost(net, i))
		if err != nil {
			return err
		}
		f.members = append(f.members, m)
	}
	faults := make(chan error, servers)
	entering := make(chan struct{}, enterAtOnce)
	var living, entered sync.WaitGroup
	defer living.Wait()
	for _, m := range f.members {
		entering <- struct{}{}
		entered.Add(1)
		living.Go(func() {
			err := m.registerAndHold(ctx, sessions)
			<-entering
			entered.Done()
			if err != nil {
				faults <- err
				return
			}
			go m.answerPings() // until the process ends
			m.renewUntilDone(ctx)
		})
	}
	entered.Wait()
	line := json.NewEncoder(out)
	tick := time.NewTicker(fleetTells)
	defer tick.Stop()
	for {
		select {
		case err := <-faults:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := line.Encode(f.currentFigures()); err != nil {
				return err
			}
		}
	}
}

// onRenewed counts an answer, and says whether it renewed.
func (f *serverFleet) onRenewed(m *fleetMember, left monotonicTime, answer *profilev1.Renewed) bool {
	took := monotonicNow().since(left)
	f.answered.Add(1)
	for {
		slowest := f.slowest.Load()
		if int64(took) <= slowest || f.slowest.CompareAndSwap(slowest, int64(took)) {
			break
		}
	}
	if answer.GetDiffers() {
		f.differed.Add(1)
	}
	if answer.GetProvedTerm() == 0 {
		return false
	}
	f.proven.Add(1)
	m.proved.Store(max(m.proved.Load(), int64(left)))
	return true
}

func (f *serverFleet) currentFigures() fleetFigures {
	l := fleetFigures{At: monotonicNow(), Slowest: time.Duration(f.slowest.Swap(0))}
	l.Oldest = l.At
	for _, m := range f.members {
		if m.over.Load() {
			l.Ended++
		}
		proved := monotonicTime(m.proved.Load())
		l.Oldest = min(l.Oldest, proved)
		doubts := l.At.since(proved) > memberDoubt
		if doubts && !m.doubts.Load() {
			f.doubted.Add(1)
		}
		m.doubts.Store(doubts)
	}
	l.Answered, l.Proven, l.Differed = f.answered.Load(), f.proven.Load(), f.differed.Load()
	l.Opened, l.Doubted = f.opened.Load(), f.doubted.Load()
	return l
}
