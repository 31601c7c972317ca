package renewals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

// fleets are the processes of game servers.
type fleets struct {
	cluster   *testbed.Cluster
	notes     io.Writer
	processes []*fleetProcess

	mu      sync.Mutex
	slowest time.Duration // answer since it was last taken
}

// fleetProcess is one of them.
type fleetProcess struct {
	*testbed.Process
	first chan struct{} // closed when it has sent figures

	mu   sync.Mutex
	last figures
}

// start starts the processes, and returns when all game servers renew.
func (f *fleets) start(ctx context.Context, folder string, servers, sessions int) error {
	began := time.Now()
	for left := servers; left > 0; left -= fleetMost {
		number := len(f.processes) + 1
		name := fmt.Sprintf("fleet-%d", number)
		p := &fleetProcess{first: make(chan struct{})}
		var err error
		p.Process, err = testbed.StartProcess(folder, name, nil, func(out io.Reader) { f.readFigures(p, out) }, "fleet", "--name", name,
			"--net", fmt.Sprint(number), "--addr", strings.Join(f.cluster.Clients(), ","),
			"--servers", fmt.Sprint(min(left, fleetMost)), "--sessions", fmt.Sprint(sessions))
		if err != nil {
			return err
		}
		f.processes = append(f.processes, p)
	}
	for _, p := range f.processes {
		select {
		case <-p.first:
		case <-p.Ended:
			return p.EndedError()
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
	fmt.Fprintf(f.notes, "%d game servers with %d sessions each registered in %s\n", servers, sessions, measure.FormatDuration(time.Since(began)))
	_, err := f.waitUntilRenewed(ctx, measure.Now())
	return err
}

func (f *fleets) readFigures(p *fleetProcess, out io.Reader) {
	lines := json.NewDecoder(out)
	for first := true; ; first = false {
		var l figures
		if lines.Decode(&l) != nil {
			return
		}
		p.mu.Lock()
		p.last = l
		p.mu.Unlock()
		f.mu.Lock()
		f.slowest = max(f.slowest, l.Slowest)
		f.mu.Unlock()
		if first {
			close(p.first)
		}
	}
}

// takeSlowest is the slowest answer since the last call.
func (f *fleets) takeSlowest() (slowest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slowest, f.slowest = f.slowest, 0
	return slowest
}

// sum adds up the last figures of all processes.
func (f *fleets) sum() (sum figures, err error) {
	for i, p := range f.processes {
		select {
		case <-p.Ended:
			return sum, p.EndedError()
		default:
		}
		p.mu.Lock()
		l := p.last
		p.mu.Unlock()
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
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		sum, err := f.sum()
		if err != nil || sum.Oldest > after {
			return sum.At, err
		}
		if measure.Sleep(ctx, reportEvery/4); ctx.Err() != nil {
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
