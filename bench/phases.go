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

// fill fills the store, and keeps what that took.
func (m *measuring) fill(ctx context.Context) error {
	if err := m.up(ctx, m.large); err != nil {
		return err
	}
	m.say("fill %d profiles of %d bytes into %d nodes", m.profiles, m.bytes, m.nodes)
	stop := m.sample(m.large)
	before, err := usages(m.large)
	if err != nil {
		return err
	}
	ctx, cancel := whileUp(ctx, m.large)
	defer cancel(nil)
	done, err := fill(ctx, m.filling(m.large, m.profiles, m.from), &progress{to: m.notes, every: 15 * time.Second})
	m.report.Fill.filled = done
	m.report.Fill.Memory = stop()
	if err != nil {
		return err
	}
	if done.Written == 0 {
		return nil // the folder held them all
	}
	saved := float64(done.Written) * float64(m.bytes)
	for i, u := range mustUsages(m.large, before) {
		m.report.Fill.WrittenPerByte = append(m.report.Fill.WrittenPerByte, float64(u.Written-before[i].Written)/saved)
		m.report.Fill.CPUPerSave = append(m.report.Fill.CPUPerSave, micros(u.CPU-before[i].CPU)/float64(done.Written))
	}
	return nil
}

// stand is memory and disk, once what the fill left to do is done.
func (m *measuring) stand(ctx context.Context) error {
	m.calm(ctx, m.large)
	before, err := usages(m.large)
	if err != nil {
		return err
	}
	for i, n := range m.large {
		d, err := n.disk()
		if err != nil {
			return err
		}
		m.report.Stands = append(m.report.Stands, standing{Memory: before[i].Memory, Disk: d})
		m.say("node %d: %s resident (%s own, peak %s), %s on disk (tables %s, snapshots %s, log %s)", i+1,
			size(before[i].Memory.RSS), size(before[i].Memory.Own), size(before[i].Memory.Peak), size(d.Total), size(d.Tables), size(d.Snapshots), size(d.Log))
	}
	return nil
}

// restart kills the cluster under load and starts it again, then stops it in order and starts it again.
func (m *measuring) restart(ctx context.Context) error {
	l, err := m.load(ctx, m.large)
	if err != nil {
		return err
	}
	_, err = l.closed(ctx, 64, m.each)
	for _, n := range m.large {
		n.kill() // at once, with what is not flushed
	}
	if err == nil {
		err = m.again(ctx, "kill -9", 0)
	}
	l.close()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := stopAll(m.large); err != nil {
		return err
	}
	return m.again(ctx, "stop", time.Since(began))
}

// again starts the nodes and waits until the cluster answers, and until each of them has all that it had.
func (m *measuring) again(ctx context.Context, how string, stopping time.Duration) error {
	began := time.Now()
	for _, n := range m.large {
		if err := n.start(m.flags...); err != nil {
			return err
		}
	}
	answers := make(chan error, len(m.large))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	first, done := context.WithCancel(ctx)
	defer done()
	for _, n := range m.large {
		go func() { answers <- n.answers(first, storeName, key(m.profiles/2), true) }()
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
	u, err := usages(m.large)
	if err != nil {
		return err
	}
	r := restart{How: how, Stopping: stopping.Seconds(), Answers: took.Seconds()}
	for _, one := range u {
		r.Memory = append(r.Memory, one.Memory)
	}
	m.report.Restarts = append(m.report.Restarts, r)
	m.say("restart after %s: answers after %.2f s (stopping took %.2f s)", how, r.Answers, r.Stopping)
	return nil
}

// compare asks this cluster and the small one in turn, so that what else the machine does falls on both.
func (m *measuring) compare(ctx context.Context) error {
	var few, large *load
	var err error
	if m.small > 0 {
		if err := m.up(ctx, m.few); err != nil {
			return err
		}
		if few, err = m.load(ctx, m.few); err != nil {
			return err
		}
		defer few.close()
		m.report.OpenFew = few.opened.times()
	}
	if large, err = m.load(ctx, m.large); err != nil {
		return err
	}
	defer large.close()
	m.report.OpenLarge = large.opened.times()
	stop := m.sample(m.large)
	for round := range m.rounds {
		for _, writers := range []int{1, 64} {
			m.calm(ctx, m.large)
			var p pair
			p.Writers = writers
			if few != nil {
				if p.Few, err = m.cost(ctx, few, m.few, writers); err != nil {
					return err
				}
			}
			if p.Large, err = m.cost(ctx, large, m.large, writers); err != nil {
				return err
			}
			m.report.Pairs = append(m.report.Pairs, p)
			m.say("round %d, %2d at once: %.0f saves a second, p50 %.1f ms, p99 %.1f ms, %.0f us CPU a save; few profiles: %.0f, %.1f, %.1f, %.0f",
				round+1, writers, p.Large.Rate, p.Large.Times.P50, p.Large.Times.P99, p.Large.CPUPerSave,
				p.Few.Rate, p.Few.Times.P50, p.Few.Times.P99, p.Few.CPUPerSave)
		}
	}
	m.report.Loaded = stop()
	return stopAll(m.few)
}

// cost is one round of saves.
func (m *measuring) cost(ctx context.Context, l *load, nodes []*node, writers int) (cost, error) {
	before, err := usages(nodes)
	if err != nil {
		return cost{}, err
	}
	took, err := l.closed(ctx, writers, m.each)
	if err != nil {
		return cost{}, err
	}
	c := cost{Times: took.times()}
	c.Rate = float64(c.Times.Count) / m.each.Seconds()
	var cpu time.Duration
	var written uint64
	for i, u := range mustUsages(nodes, before) {
		cpu += u.CPU - before[i].CPU
		written += u.Written - before[i].Written
	}
	saves := float64(max(c.Times.Count, 1))
	c.CPUPerSave = micros(cpu) / saves
	c.WrittenPerByte = float64(written) / (saves * float64(m.bytes)) / float64(len(nodes))
	return c, nil
}

// snapshots watches a steady load, first while no snapshot is taken, then while many are.
func (m *measuring) snapshots(ctx context.Context) error {
	without, _, err := m.steady(ctx, "1024GiB")
	if err != nil {
		return err
	}
	with, taken, err := m.steady(ctx, m.every)
	if err != nil {
		return err
	}
	m.report.Snapshots = snapshotting{Rate: m.rate, Every: m.every, Taken: taken, Without: without, With: with}
	m.say("%d snapshots under %.0f saves a second: longest save %.1f ms, p99.9 %.1f ms; without: %.1f ms, %.1f ms",
		taken, m.rate, with.Max, with.P999, without.Max, without.P999)
	return nil
}

// steady restarts the nodes with a bound for snapshots and watches a steady load.
func (m *measuring) steady(ctx context.Context, every string) (times, int, error) {
	if err := stopAll(m.large); err != nil {
		return times{}, 0, err
	}
	if err := m.up(ctx, m.large, "--snapshot-bytes="+every); err != nil {
		return times{}, 0, err
	}
	l, err := m.load(ctx, m.large)
	if err != nil {
		return times{}, 0, err
	}
	defer l.close()
	leads, err := leader(ctx, m.large)
	if err != nil {
		return times{}, 0, err
	}
	m.calm(ctx, m.large)
	began := time.Now()
	took, err := l.steady(ctx, m.rate, m.watch, nil)
	if err != nil {
		return times{}, 0, err
	}
	return took.times(), len(leads.snapshotsSince(began)), nil
}

// catchUp empties a follower's folder and lets it come back, under a steady load.
func (m *measuring) catchUp(ctx context.Context) error {
	if m.nodes < 3 {
		return nil
	}
	if err := stopAll(m.large); err != nil {
		return err
	}
	if err := m.up(ctx, m.large); err != nil {
		return err
	}
	leads, err := leader(ctx, m.large)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(m.large, func(n *node) bool { return n != leads })
	lost := m.large[at]
	l, err := m.load(ctx, m.large)
	if err != nil {
		return err
	}
	defer l.close()
	m.calm(ctx, m.large)
	lost.kill()
	if err := os.RemoveAll(lost.folder); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		took *spread
		err  error
	}
	loaded := make(chan outcome, 1)
	loading, enough := context.WithCancel(ctx)
	defer enough()
	go func() {
		took, err := l.steady(loading, m.rate, time.Hour, nil)
		loaded <- outcome{took, err}
	}()
	began := time.Now()
	if err := lost.start(m.flags...); err != nil {
		return err
	}
	level, votes, err := m.comesBack(ctx, leads, lost, began)
	enough()
	under := <-loaded
	if err != nil {
		return err
	}
	if under.err != nil && !errors.Is(under.err, context.Canceled) {
		return under.err
	}
	u, err := lost.usage()
	if err != nil {
		return err
	}
	m.report.CatchUp = &catchUp{Rate: m.rate, Level: level.Seconds(), Votes: votes.Seconds(), Meanwhile: under.took.times(), Memory: u.Memory}
	m.say("an emptied node is level after %.1f s and votes after %.1f s; saves meanwhile p50 %.1f ms, p99 %.1f ms, longest %.1f ms",
		level.Seconds(), votes.Seconds(), m.report.CatchUp.Meanwhile.P50, m.report.CatchUp.Meanwhile.P99, m.report.CatchUp.Meanwhile.Max)
	return nil
}

// comesBack waits until the lost node has what the leader had a moment before, and votes again.
func (m *measuring) comesBack(ctx context.Context, leads, lost *node, began time.Time) (level, votes time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		theirs, err := leads.status(ctx)
		if err != nil {
			pause(ctx, 100*time.Millisecond)
			continue
		}
		ours, err := lost.status(ctx)
		if err != nil {
			pause(ctx, 100*time.Millisecond)
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
		pause(ctx, 100*time.Millisecond)
	}
	return 0, 0, errors.New("the emptied node has not caught up within half an hour")
}

func (m *measuring) load(ctx context.Context, nodes []*node) (*load, error) {
	m.seed++
	profiles := m.profiles
	if len(m.few) > 0 && nodes[0] == m.few[0] {
		profiles = m.small
	}
	return newLoad(ctx, clientsOf(nodes), storeName, profiles, m.sessions, m.bytes, m.seed)
}

// calm waits until nodes are busy with nothing but each other, and no longer than five minutes.
func (m *measuring) calm(ctx context.Context, nodes []*node) {
	const look, quiet = time.Second, 5
	for left, calm := 300, 0; left > 0 && calm < quiet && ctx.Err() == nil; left-- {
		before, err := usages(nodes)
		if err != nil {
			return
		}
		pause(ctx, look)
		busy := false
		for i, u := range mustUsages(nodes, before) {
			busy = busy || u.CPU-before[i].CPU > look/8
		}
		if calm++; busy {
			calm = 0
		}
	}
}

func usages(nodes []*node) ([]usage, error) {
	all := make([]usage, len(nodes))
	for i, n := range nodes {
		var err error
		if all[i], err = n.usage(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// mustUsages are the usages now, or those before where a process has ended.
func mustUsages(nodes []*node, before []usage) []usage {
	now, err := usages(nodes)
	if err != nil {
		return before
	}
	return now
}

// sample watches the nodes' memory until the function that it returns is called, which tells the most of each.
func (m *measuring) sample(nodes []*node) func() []memory {
	most := make([]memory, len(nodes))
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
			now, err := usages(nodes)
			if err != nil {
				continue
			}
			for i, u := range now {
				most[i].RSS, most[i].Peak = max(most[i].RSS, u.Memory.RSS), max(most[i].Peak, u.Memory.Peak)
				most[i].Own, most[i].File = max(most[i].Own, u.Memory.Own), max(most[i].File, u.Memory.File)
			}
		}
	})
	return func() []memory {
		close(done)
		ended.Wait()
		return most
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
