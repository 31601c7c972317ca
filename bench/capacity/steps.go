package capacity

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/bench/fill"
	"github.com/profilenode/profilenode/bench/load"
	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

// fillFew fills the cluster to compare with, and stops it.
func (r *run) fillFew(ctx context.Context) (err error) {
	if r.small == 0 {
		return nil
	}
	if err := os.RemoveAll(r.folderOf("small")); err != nil {
		return err
	}
	if r.few, err = testbed.NewCluster(r.program, r.folderOf("small"), r.nodes, nil); err != nil {
		return err
	}
	r.logProgress("fill the cluster to compare with: %d profiles", r.small)
	if err := r.few.Start(ctx); err != nil {
		return err
	}
	if _, err := fill.Fill(ctx, r.fillOptions(r.few, r.small, 0)); err != nil {
		return err
	}
	return r.few.Stop(stopLimit)
}

// fillLarge fills the cluster, and measures that.
func (r *run) fillLarge(ctx context.Context) (err error) {
	if r.large, err = testbed.NewCluster(r.program, r.folderOf("large"), r.nodes, nil); err != nil {
		return err
	}
	if err := r.large.Start(ctx); err != nil {
		return err
	}
	r.logProgress("fill %d profiles of %d bytes into %d nodes", r.profiles, r.bytes, r.nodes)
	before, err := r.large.Usages()
	if err != nil {
		return err
	}
	stop := watchMemory(r.large)
	ctx, cancel := r.large.WhileRunning(ctx)
	defer cancel(nil)
	done, err := fill.Fill(ctx, r.fillOptions(r.large, r.profiles, r.from))
	r.report.Fill.Result, r.report.Fill.Memory = done, stop()
	if err != nil || done.Written == 0 { // the folder held them all
		return err
	}
	saved := float64(done.Written) * float64(r.bytes)
	for i, u := range usagesSince(r.large, before) {
		r.report.Fill.WrittenPerByte = append(r.report.Fill.WrittenPerByte, float64(u.Written-before[i].Written)/saved)
		r.report.Fill.CPUPerSave = append(r.report.Fill.CPUPerSave, toMicros(u.CPU-before[i].CPU)/float64(done.Written))
	}
	return nil
}

// watchMemory watches the nodes' memory until stop, which returns the most of each.
func watchMemory(c *testbed.Cluster) (stop func() []measure.Memory) {
	most := make([]measure.Memory, len(c.Nodes))
	done, ended := make(chan struct{}), sync.WaitGroup{}
	ended.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now, err := c.Usages()
			if err != nil {
				continue
			}
			for i, u := range now {
				most[i] = most[i].Max(u.Memory)
			}
		}
	})
	return func() []measure.Memory {
		close(done)
		ended.Wait()
		return most
	}
}

// measureResting measures memory and disk once the work that the fill left is done.
func (r *run) measureResting(ctx context.Context) error {
	r.waitUntilCalm(ctx, r.large)
	usages, err := r.large.Usages()
	if err != nil {
		return err
	}
	for i, n := range r.large.Nodes {
		d, err := measure.ReadDisk(n.Folder)
		if err != nil {
			return err
		}
		f := restingFigures{Memory: usages[i].Memory, Disk: d}
		r.report.Resting = append(r.report.Resting, f)
		r.logProgress("node %d: %s", i+1, f)
	}
	return nil
}

// measureRestarts kills the cluster under load and starts it again, then stops it in order and starts it again.
func (r *run) measureRestarts(ctx context.Context) error {
	l, err := r.openLoad(ctx, r.large)
	if err != nil {
		return err
	}
	_, err = l.SaveInLoop(ctx, 64, r.each)
	err = errors.Join(err, r.large.Kill()) // at once, with entries that are not flushed
	if err == nil {
		err = r.restart(ctx, "kill -9", 0)
	}
	l.Close()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.large.Stop(stopLimit); err != nil {
		return err
	}
	return r.restart(ctx, "stop", time.Since(began))
}

// restart starts the nodes, and measures the time until the first of them answers. It returns when all do, or cannot.
func (r *run) restart(ctx context.Context, how string, stopping time.Duration) error {
	began := time.Now()
	if err := r.large.Cluster.Start(); err != nil {
		return err
	}
	answers := make(chan error, len(r.large.Nodes))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	first, done := context.WithCancel(ctx)
	defer done()
	for _, n := range r.large.Nodes {
		go func() { answers <- n.WaitForAnswer(first, storeName, load.Key(r.profiles/2), true) }()
	}
	if err := <-answers; err != nil {
		return err
	}
	took := time.Since(began)
	done()
	for range len(r.large.Nodes) - 1 {
		if err := <-answers; err != nil && status.Code(err) != codes.Canceled {
			return err
		}
	}
	usages, err := r.large.Usages()
	if err != nil {
		return err
	}
	f := restartFigures{How: how, Stopping: stopping.Seconds(), Answers: took.Seconds()}
	for _, u := range usages {
		f.Memory = append(f.Memory, u.Memory)
	}
	r.report.Restarts = append(r.report.Restarts, f)
	r.logProgress("restart after %s: answers after %.2f s (stopping took %.2f s)", how, f.Answers, f.Stopping)
	return nil
}

// measureCatchUp empties a follower's folder and lets it come back, beside a steady load.
func (r *run) measureCatchUp(ctx context.Context) error {
	if r.nodes < 3 {
		return nil
	}
	if err := r.large.Stop(stopLimit); err != nil {
		return err
	}
	if err := r.large.Start(ctx); err != nil {
		return err
	}
	leader, err := r.large.FindLeader(ctx)
	if err != nil {
		return err
	}
	lost := r.large.Nodes[slices.IndexFunc(r.large.Nodes, func(n *testbed.Node) bool { return n != leader })]
	l, err := r.openLoad(ctx, r.large)
	if err != nil {
		return err
	}
	defer l.Close()
	r.waitUntilCalm(ctx, r.large)
	_ = lost.Kill()
	if err := os.RemoveAll(lost.Folder); err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var took *measure.Samples
	var fault error
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		took, fault = l.SaveAtRate(loading, r.rate, time.Hour)
	}()
	began := time.Now()
	if err := lost.Start(); err != nil {
		return err
	}
	level, votes, err := r.waitForReturn(ctx, leader, lost, began)
	stop()
	<-loaded
	if err != nil {
		return err
	}
	if fault != nil && !errors.Is(fault, context.Canceled) {
		return fault
	}
	u, err := measure.ReadUsage(lost.PID())
	if err != nil {
		return err
	}
	r.report.CatchUp = &catchUpFigures{Rate: r.rate, Level: level.Seconds(), Votes: votes.Seconds(), Meanwhile: took.Figures(), Memory: u.Memory}
	r.logProgress("an emptied node is level after %.1f s and votes after %.1f s; saves meanwhile: %s", level.Seconds(), votes.Seconds(), formatFigures(took.Figures()))
	return nil
}

// waitForReturn waits until the lost node has the entries that the leader had a moment before, and votes again.
func (r *run) waitForReturn(ctx context.Context, leader, lost *testbed.Node, began time.Time) (level, votes time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	for ; ctx.Err() == nil; measure.Sleep(ctx, 100*time.Millisecond) {
		theirs, err := leader.Status(ctx)
		if err != nil {
			continue
		}
		ours, err := lost.Status(ctx)
		if err != nil {
			continue
		}
		if level == 0 && ours.GetApplied() >= theirs.GetApplied() && theirs.GetApplied() > 0 {
			level = time.Since(began)
		}
		for _, member := range theirs.GetMembers() {
			if member.GetId() == ours.GetId() && member.GetVoter() && level > 0 {
				return level, time.Since(began), nil
			}
		}
	}
	return 0, 0, errors.New("the emptied node has not caught up within half an hour")
}

func toMicros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
