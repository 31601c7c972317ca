package renewals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

// watch is a run under way.
type watch struct {
	options
	cluster *testbed.Cluster
	fleets  *fleets
	notes   io.Writer
	report  report

	leader   *testbed.Node
	killed   *testbed.Node   // nil: none
	began    time.Time       // of the watch
	cpuFirst []time.Duration // of each node, then

	profiles sync.WaitGroup
	mu       sync.Mutex
	fault    error // of the profiles
}

// run measures for as long as the options say.
func (w *watch) run(ctx context.Context) (err error) {
	if w.leader, err = w.cluster.FindLeader(ctx); err != nil { // it may have changed while thousands registered
		return err
	}
	first, err := w.fleets.sum(ctx)
	if err != nil {
		return err
	}
	status, err := w.leader.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask the leader: %w", err)
	}
	w.fleets.takeSlowest()
	fleetCPU := w.fleets.cpu()
	for _, n := range w.cluster.Nodes {
		w.cpuFirst = append(w.cpuFirst, readCPU(n.PID()))
	}
	w.began = time.Now()
	if !w.killLeader {
		w.profile(ctx, w.leader, w.options.profile)
	}
	measure.Sleep(ctx, w.options.watch/2)
	if w.killLeader {
		if err := w.runStorm(ctx); err != nil {
			return err
		}
	}
	if measure.Sleep(ctx, w.options.watch-time.Since(w.began)); ctx.Err() != nil {
		return errors.New("interrupted")
	}
	seconds := time.Since(w.began).Seconds()
	last, err := w.fleets.sum(ctx)
	if err != nil {
		return err
	}
	now, err := w.leader.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask the leader: %w", err)
	}
	w.measureNodes(ctx)
	r := &w.report
	r.Seconds, r.Load = seconds, (w.fleets.cpu()-fleetCPU).Seconds()/seconds
	r.Answered, r.Confirmed = float64(last.Answered-first.Answered)/seconds, float64(last.Confirmed-first.Confirmed)/seconds
	r.Differed, r.Streams = last.Differed-first.Differed, last.Opened-first.Opened
	r.Doubted, r.Ended = last.Doubted-first.Doubted, last.Ended
	r.Terms, r.Leads = now.GetTerm()-status.GetTerm(), len(w.cluster.LogLines(testbed.Leads, w.began))
	r.Slowest = measure.Millis(w.fleets.takeSlowest())
	w.profiles.Wait()
	return w.fault
}

// runStorm kills the leader, and waits until all game servers have renewed again.
func (w *watch) runStorm(ctx context.Context) (err error) {
	w.measureNodes(ctx) // the leader's figures stay
	w.killed = w.leader
	killed := measure.Now()
	_ = w.leader.Kill()
	for i, n := range w.cluster.Nodes {
		if n != w.killed && w.options.profile != "" {
			w.profile(ctx, n, fmt.Sprint(w.options.profile, ".", i+1))
		}
	}
	fmt.Fprintln(w.notes, "killed the leader")
	renewed, err := w.fleets.waitUntilRenewed(ctx, killed)
	if err != nil {
		return err
	}
	w.report.Storm = measure.Millis(renewed.Since(killed))
	fmt.Fprintf(w.notes, "all renew again after %s\n", measure.FormatDuration(renewed.Since(killed)))
	w.leader, err = w.cluster.FindLeader(ctx)
	return err
}

// profile writes the CPU profile of a node from now on to a file; "": none.
func (w *watch) profile(ctx context.Context, n *testbed.Node, file string) {
	if file == "" {
		return
	}
	w.profiles.Go(func() {
		err := profileCPU(ctx, n.Addresses.HTTP, file, w.options.watch/2-time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fault = errors.Join(w.fault, err)
	})
}

// measureNodes fills in the figures of the nodes since the watch began. Those of the killed one stay as they were.
func (w *watch) measureNodes(ctx context.Context) {
	w.report.Cores = 0
	for i, n := range w.cluster.Nodes {
		f := &w.report.Nodes[i]
		if n == w.killed {
			f.Leader, f.Killed = false, true
			continue
		}
		*f = nodeFigures{Leader: n == w.leader, Cores: (readCPU(n.PID()) - w.cpuFirst[i]).Seconds() / time.Since(w.began).Seconds()}
		if u, err := measure.ReadUsage(n.PID()); err == nil {
			f.RSS = u.Memory.RSS
		}
		f.Goroutines, _ = countGoroutines(ctx, n.Addresses.HTTP) // 0: it did not say
		f.BytesEach = f.RSS / uint64(w.servers)
		f.GoroutinesEach = float64(f.Goroutines) / float64(w.servers)
		w.report.Cores += f.Cores
	}
}

// readCPU is the processor time of a process; 0 if it has ended.
func readCPU(pid int) time.Duration {
	u, err := measure.ReadUsage(pid)
	if err != nil {
		return 0
	}
	return u.CPU
}
