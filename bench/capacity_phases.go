package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// measureFill fills the store, and keeps what that took.
func (m *capacityRun) measureFill(ctx context.Context) error {
	if err := m.startAll(ctx, m.large); err != nil {
		return err
	}
	m.logProgress("fill %d profiles of %d bytes into %d nodes", m.profiles, m.bytes, m.nodes)
	stop := m.sampleMemory(m.large)
	before, err := readUsages(m.large)
	if err != nil {
		return err
	}
	ctx, cancel := whileAllRun(ctx, m.large)
	defer cancel(nil)
	done, err := fillProfiles(ctx, m.fillOptions(m.large, m.profiles, m.from), &progressLog{to: m.notes, every: 15 * time.Second})
	m.report.Fill.fillResult = done
	m.report.Fill.Memory = stop()
	if err != nil {
		return err
	}
	if done.Written == 0 {
		return nil // the folder held them all
	}
	saved := float64(done.Written) * float64(m.bytes)
	for i, u := range usagesSince(m.large, before) {
		m.report.Fill.WrittenPerByte = append(m.report.Fill.WrittenPerByte, float64(u.Written-before[i].Written)/saved)
		m.report.Fill.CPUPerSave = append(m.report.Fill.CPUPerSave, toMicros(u.CPU-before[i].CPU)/float64(done.Written))
	}
	return nil
}

// measureResting is memory and disk, once what the fill left to do is done.
func (m *capacityRun) measureResting(ctx context.Context) error {
	m.waitUntilCalm(ctx, m.large)
	before, err := readUsages(m.large)
	if err != nil {
		return err
	}
	for i, n := range m.large {
		d, err := n.readDiskUsage()
		if err != nil {
			return err
		}
		m.report.Stands = append(m.report.Stands, restingFigures{Memory: before[i].Memory, Disk: d})
		m.logProgress("node %d: %s resident (%s own, peak %s), %s on disk (tables %s, snapshots %s, log %s)", i+1,
			formatSize(before[i].Memory.RSS), formatSize(before[i].Memory.Own), formatSize(before[i].Memory.Peak), formatSize(d.Total), formatSize(d.Tables), formatSize(d.Snapshots), formatSize(d.Log))
	}
	return nil
}

// measureRestart kills the cluster under load and starts it again, then stops it in order and starts it again.
func (m *capacityRun) measureRestart(ctx context.Context) error {
	l, err := m.newLoadOn(ctx, m.large)
	if err != nil {
		return err
	}
	_, err = l.saveInLoop(ctx, 64, m.each)
	for _, n := range m.large {
		_ = n.Kill() // at once, with what is not flushed
	}
	if err == nil {
		err = m.restartOnce(ctx, "kill -9", 0)
	}
	l.closeLoad()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := stopAll(m.large); err != nil {
		return err
	}
	return m.restartOnce(ctx, "stop", time.Since(began))
}

// restartOnce starts the nodes and waits until the cluster answers, and until each of them has all that it had.
func (m *capacityRun) restartOnce(ctx context.Context, how string, stopping time.Duration) error {
	began := time.Now()
	for _, n := range m.large {
		if err := n.Start(m.flags...); err != nil {
			return err
		}
	}
	answers := make(chan error, len(m.large))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	first, done := context.WithCancel(ctx)
	defer done()
	for _, n := range m.large {
		go func() { answers <- n.waitForAnswer(first, storeName, profileKey(m.profiles/2), true) }()
	}
	if err := <-answers; err != nil {
		return err
	}
	took := time.Since(began)
	done()
	for range len(m.large) - 1 {
		if err := <-answers; err != nil && status.Code(err) != codes.Canceled {
			return err
		}
	}
	u, err := readUsages(m.large)
	if err != nil {
		return err
	}
	r := restartFigures{How: how, Stopping: stopping.Seconds(), Answers: took.Seconds()}
	for _, one := range u {
		r.Memory = append(r.Memory, one.Memory)
	}
	m.report.Restarts = append(m.report.Restarts, r)
	m.logProgress("restart after %s: answers after %.2f s (stopping took %.2f s)", how, r.Answers, r.Stopping)
	return nil
}

// compareCosts asks this cluster and the small one in turn, so that what else the machine does falls on both.
func (m *capacityRun) compareCosts(ctx context.Context) error {
	var few, large *saveLoad
	var err error
	if m.small > 0 {
		if err := m.startAll(ctx, m.few); err != nil {
			return err
		}
		if few, err = m.newLoadOn(ctx, m.few); err != nil {
			return err
		}
		defer few.closeLoad()
		m.report.OpenFew = few.opened.figures()
	}
	if large, err = m.newLoadOn(ctx, m.large); err != nil {
		return err
	}
	defer large.closeLoad()
	m.report.OpenLarge = large.opened.figures()
	stop := m.sampleMemory(m.large)
	for round := range m.rounds {
		for _, writers := range []int{1, 64} {
			m.waitUntilCalm(ctx, m.large)
			var p costPair
			p.Writers = writers
			if few != nil {
				if p.Few, err = m.measureCost(ctx, few, m.few, writers); err != nil {
					return err
				}
			}
			if p.Large, err = m.measureCost(ctx, large, m.large, writers); err != nil {
				return err
			}
			m.report.Pairs = append(m.report.Pairs, p)
			m.logProgress("round %d, %2d at once: %.0f saves a second, p50 %.1f ms, p99 %.1f ms, %.0f us CPU a save; few profiles: %.0f, %.1f, %.1f, %.0f",
				round+1, writers, p.Large.Rate, p.Large.Times.P50, p.Large.Times.P99, p.Large.CPUPerSave,
				p.Few.Rate, p.Few.Times.P50, p.Few.Times.P99, p.Few.CPUPerSave)
		}
	}
	m.report.Loaded = stop()
	return stopAll(m.few)
}

// measureCost is one round of saves.
func (m *capacityRun) measureCost(ctx context.Context, l *saveLoad, nodes []*nodeProcess, writers int) (costFigures, error) {
	before, err := readUsages(nodes)
	if err != nil {
		return costFigures{}, err
	}
	took, err := l.saveInLoop(ctx, writers, m.each)
	if err != nil {
		return costFigures{}, err
	}
	c := costFigures{Times: took.figures()}
	c.Rate = float64(c.Times.Count) / m.each.Seconds()
	var cpu time.Duration
	var written uint64
	for i, u := range usagesSince(nodes, before) {
		cpu += u.CPU - before[i].CPU
		written += u.Written - before[i].Written
	}
	saves := float64(max(c.Times.Count, 1))
	c.CPUPerSave = toMicros(cpu) / saves
	c.WrittenPerByte = float64(written) / (saves * float64(m.bytes)) / float64(len(nodes))
	return c, nil
}

// measureSnapshots watches a steady load, first while no snapshot is taken, then while many are.
func (m *capacityRun) measureSnapshots(ctx context.Context) error {
	without, _, err := m.measureSteadySaves(ctx, "1024GiB")
	if err != nil {
		return err
	}
	with, taken, err := m.measureSteadySaves(ctx, m.every)
	if err != nil {
		return err
	}
	m.report.Snapshots = snapshotFigures{Rate: m.rate, Every: m.every, Taken: taken, Without: without, With: with}
	m.logProgress("%d snapshots under %.0f saves a second: longest save %.1f ms, p99.9 %.1f ms; without: %.1f ms, %.1f ms",
		taken, m.rate, with.Max, with.P999, without.Max, without.P999)
	return nil
}

// measureSteadySaves restarts the nodes with a bound for snapshots and watches a steady load.
func (m *capacityRun) measureSteadySaves(ctx context.Context, every string) (latencyFigures, int, error) {
	if err := stopAll(m.large); err != nil {
		return latencyFigures{}, 0, err
	}
	if err := m.startAll(ctx, m.large, "--snapshot-bytes="+every); err != nil {
		return latencyFigures{}, 0, err
	}
	l, err := m.newLoadOn(ctx, m.large)
	if err != nil {
		return latencyFigures{}, 0, err
	}
	defer l.closeLoad()
	leads, err := findLeader(ctx, m.large)
	if err != nil {
		return latencyFigures{}, 0, err
	}
	m.waitUntilCalm(ctx, m.large)
	began := time.Now()
	took, err := l.saveAtRate(ctx, m.rate, m.watch, nil)
	if err != nil {
		return latencyFigures{}, 0, err
	}
	return took.figures(), len(leads.snapshotsSince(began)), nil
}

// measureCatchUp empties a follower's folder and lets it come back, under a steady load.
func (m *capacityRun) measureCatchUp(ctx context.Context) error {
	if m.nodes < 3 {
		return nil
	}
	if err := stopAll(m.large); err != nil {
		return err
	}
	if err := m.startAll(ctx, m.large); err != nil {
		return err
	}
	leads, err := findLeader(ctx, m.large)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(m.large, func(n *nodeProcess) bool { return n != leads })
	lost := m.large[at]
	l, err := m.newLoadOn(ctx, m.large)
	if err != nil {
		return err
	}
	defer l.closeLoad()
	m.waitUntilCalm(ctx, m.large)
	_ = lost.Kill()
	if err := os.RemoveAll(lost.Folder); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		took *latencyHistogram
		err  error
	}
	loaded := make(chan outcome, 1)
	loading, enough := context.WithCancel(ctx)
	defer enough()
	go func() {
		took, err := l.saveAtRate(loading, m.rate, time.Hour, nil)
		loaded <- outcome{took, err}
	}()
	began := time.Now()
	if err := lost.Start(m.flags...); err != nil {
		return err
	}
	level, votes, err := m.waitForReturn(ctx, leads, lost, began)
	enough()
	under := <-loaded
	if err != nil {
		return err
	}
	if under.err != nil && !errors.Is(under.err, context.Canceled) {
		return under.err
	}
	u, err := readUsage(lost.PID())
	if err != nil {
		return err
	}
	m.report.CatchUp = &catchUpFigures{Rate: m.rate, Level: level.Seconds(), Votes: votes.Seconds(), Meanwhile: under.took.figures(), Memory: u.Memory}
	m.logProgress("an emptied node is level after %.1f s and votes after %.1f s; saves meanwhile p50 %.1f ms, p99 %.1f ms, longest %.1f ms",
		level.Seconds(), votes.Seconds(), m.report.CatchUp.Meanwhile.P50, m.report.CatchUp.Meanwhile.P99, m.report.CatchUp.Meanwhile.Max)
	return nil
}

// waitForReturn waits until the lost node has what the leader had a moment before, and votes again.
func (m *capacityRun) waitForReturn(ctx context.Context, leads, lost *nodeProcess, began time.Time) (level, votes time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		theirs, err := leads.askStatus(ctx)
		if err != nil {
			sleepUnlessDone(ctx, 100*time.Millisecond)
			continue
		}
		ours, err := lost.askStatus(ctx)
		if err != nil {
			sleepUnlessDone(ctx, 100*time.Millisecond)
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
		sleepUnlessDone(ctx, 100*time.Millisecond)
	}
	return 0, 0, errors.New("the emptied node has not caught up within half an hour")
}

func (m *capacityRun) newLoadOn(ctx context.Context, nodes []*nodeProcess) (*saveLoad, error) {
	m.seed++
	profiles := m.profiles
	if len(m.few) > 0 && nodes[0] == m.few[0] {
		profiles = m.small
	}
	return newSaveLoad(ctx, clientsOf(nodes), storeName, profiles, m.sessions, m.bytes, m.seed)
}

// waitUntilCalm waits until nodes are busy with nothing but each other, and no longer than five minutes.
func (m *capacityRun) waitUntilCalm(ctx context.Context, nodes []*nodeProcess) {
	const look, quiet = time.Second, 5
	for left, calm := 300, 0; left > 0 && calm < quiet && ctx.Err() == nil; left-- {
		before, err := readUsages(nodes)
		if err != nil {
			return
		}
		sleepUnlessDone(ctx, look)
		busy := false
		for i, u := range usagesSince(nodes, before) {
			busy = busy || u.CPU-before[i].CPU > look/8
		}
		if calm++; busy {
			calm = 0
		}
	}
}

func readUsages(nodes []*nodeProcess) ([]resourceUsage, error) {
	all := make([]resourceUsage, len(nodes))
	for i, n := range nodes {
		var err error
		if all[i], err = readUsage(n.PID()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// usagesSince are the usages now, or those before where a process has ended.
func usagesSince(nodes []*nodeProcess, before []resourceUsage) []resourceUsage {
	now, err := readUsages(nodes)
	if err != nil {
		return before
	}
	return now
}

// sampleMemory watches the nodes' memory until the function that it returns is called, which tells the most of each.
func (m *capacityRun) sampleMemory(nodes []*nodeProcess) func() []memoryUsage {
	most := make([]memoryUsage, len(nodes))
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
			now, err := readUsages(nodes)
			if err != nil {
				continue
			}
			for i, u := range now {
				most[i].RSS, most[i].Peak = max(most[i].RSS, u.Memory.RSS), max(most[i].Peak, u.Memory.Peak)
				most[i].Own, most[i].File = max(most[i].Own, u.Memory.Own), max(most[i].File, u.Memory.File)
			}
		}
	})
	return func() []memoryUsage {
		close(done)
		ended.Wait()
		return most
	}
}

func toMicros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
