package renewals

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

// lookEvery is the time from one look at all figures to the next.
const lookEvery = 50 * time.Millisecond

// fleets are the processes of game servers.
type fleets struct {
	cluster   *testbed.Cluster
	notes     io.Writer
	processes []*testbed.CalledProcess
	slowest   time.Duration // answer since it was last taken
}

// start starts the processes, and returns when all game servers renew.
func (f *fleets) start(ctx context.Context, folder string, servers, sessions int) error {
	began := time.Now()
	var opening errgroup.Group
	for left := servers; left > 0; left -= fleetMost {
		o := FleetOptions{f.cluster.Clients(), fmt.Sprintf("fleet-%d", len(f.processes)+1), uint8(len(f.processes) + 1), min(left, fleetMost), sessions}
		p, err := testbed.StartCalledProcess(folder, o.Name, nil, "fleet")
		if err != nil {
			return err
		}
		f.processes = append(f.processes, p)
		opening.Go(func() error { return p.Call(ctx, "Fleet.Open", o, new(bool)) })
	}
	if err := opening.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(f.notes, "%d game servers with %d sessions each registered in %s\n", servers, sessions, measure.FormatDuration(time.Since(began)))
	_, err := f.waitUntilRenewed(ctx, measure.Now())
	return err
}

// takeSlowest is the slowest answer that sum saw since the last call.
func (f *fleets) takeSlowest() (slowest time.Duration) {
	slowest, f.slowest = f.slowest, 0
	return slowest
}

// sum adds up the figures of all processes.
func (f *fleets) sum(ctx context.Context) (sum FleetFigures, err error) {
	for i, p := range f.processes {
		var l FleetFigures
		if err := p.Call(ctx, "Fleet.TakeFigures", true, &l); err != nil {
			return sum, err
		}
		f.slowest = max(f.slowest, l.Slowest)
		sum.Answered += l.Answered
		sum.Confirmed += l.Confirmed
		sum.Differed += l.Differed
		sum.Opened += l.Opened
		sum.Doubted += l.Doubted
		sum.Ended += l.Ended
		if i == 0 {
			sum.At, sum.Oldest = l.At, l.Oldest
		}
		sum.At, sum.Oldest = min(sum.At, l.At), min(sum.Oldest, l.Oldest)
	}
	return sum, nil
}

// waitUntilRenewed waits until every game server has a confirmed renewal that it sent after a moment, and returns the moment
// at which that was so.
func (f *fleets) waitUntilRenewed(ctx context.Context, after measure.Moment) (measure.Moment, error) {
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		sum, err := f.sum(ctx)
		if err != nil || sum.Oldest > after {
			return sum.At, err
		}
		if measure.Sleep(waiting, lookEvery); waiting.Err() != nil {
			var logs strings.Builder
			for i, n := range f.cluster.Nodes {
				fmt.Fprintf(&logs, "node %d:\n%s\n", i+1, n.LastLines())
			}
			return 0, fmt.Errorf("some game servers do not renew: the fleets last said %+v\n%s", sum, &logs)
		}
	}
}

// cpu is the processor time of all processes.
func (f *fleets) cpu() (sum time.Duration) {
	for _, p := range f.processes {
		sum += readCPU(p.PID())
	}
	return sum
}

func (f *fleets) stop() {
	for _, p := range f.processes {
		p.Kill()
	}
}
