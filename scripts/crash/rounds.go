//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// crashRun is one run: rounds, each of which takes nodes down and then checks that nothing is lost.
type crashRun struct {
	settings crashSettings
	cluster  *nodeCluster
	writers  *writerGroup
	random   *rand.Rand
	began    time.Time
	result   runResult
	doing    string // the act of this round
	wiped    bool   // a node lost its folder in this round: it needs longer to catch up
}

const (
	compareEvery = 10 // rounds
	tellEvery    = 10
)

// crashAct is one way to take nodes down. Afterwards every process runs, or starts.
type crashAct struct {
	name   string
	weight int
	do     func(*crashRun, context.Context) error
}

func killActs() []crashAct {
	return []crashAct{
		{"one", 5, killNodesAtRandom(1)},
		{"leader", 5, (*crashRun).killLeader},
		{"two", 3, killNodesAtRandom(2)},
		{"all", 4, killNodesAtRandom(nodes)},
		{"stopped", 2, (*crashRun).killStopped},
		{"starting", 4, (*crashRun).killStarting},
		{"making", 4, killAtEvent(inMaking, codeSnapshotBegins, 20*time.Millisecond)},
		{"cutting", 4, killAtEvent(inCut, codeLogCut, 5*time.Millisecond)},
		{"installing", 4, (*crashRun).killInstalling},
		{"wiped", 1, (*crashRun).wipeAndRejoin},
	}
}

func powerActs() []crashAct {
	return []crashAct{
		{"power of one", 2, cutPowerOfSome(1)},
		{"power of two", 2, cutPowerOfSome(2)},
		{"power of all", 4, cutPowerOfSome(nodes)},
	}
}

func (t *crashRun) runRounds(ctx context.Context) error {
	for _, n := range t.cluster.nodes {
		if err := n.startProcess(); err != nil {
			return err
		}
	}
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	t.writers = startWriters(ctx, t.cluster, t.settings.writers, t.settings.seed)
	defer t.writers.stopWriters()
	kinds := []struct {
		rounds int
		acts   []crashAct
		done   *int
	}{
		{t.settings.kills, killActs(), &t.result.Kills}, {t.settings.power, powerActs(), &t.result.Power}, {t.settings.full, diskActs(), &t.result.Full},
		{t.settings.hang, hangActs(), &t.result.Hang},
	}
	var rounds []int // the kind of each
	for kind, k := range kinds {
		rounds = append(rounds, slices.Repeat([]int{kind}, k.rounds)...)
	}
	t.random.Shuffle(len(rounds), func(i, j int) { rounds[i], rounds[j] = rounds[j], rounds[i] })
	for i, kind := range rounds {
		a := t.pickAct(kinds[kind].acts)
		if err := t.runRound(ctx, a, i+1); err != nil {
			return fmt.Errorf("round %d, %s: %w", i+1, a.name, err)
		}
		*kinds[kind].done++
		t.result.Acts[a.name]++
		if (i+1)%tellEvery == 0 {
			installed, _ := t.cluster.countSnapshots()
			fmt.Fprintf(os.Stderr, "%d of %d rounds, %d saves acknowledged, %d installs, %d s\n", i+1, len(rounds), t.writers.acked.Load(), installed, int(time.Since(t.began).Seconds()))
		}
	}
	return t.finishRun(ctx)
}

// pickAct picks an act by chance; as long as some have not been tried in this run, one of them.
func (t *crashRun) pickAct(acts []crashAct) crashAct {
	fresh := slices.DeleteFunc(slices.Clone(acts), func(a crashAct) bool { return t.result.Acts[a.name] > 0 })
	if len(fresh) > 0 {
		acts = fresh
	}
	sum := 0
	for _, a := range acts {
		sum += a.weight
	}
	n := t.random.IntN(sum)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	panic("weights do not add up")
}

func (t *crashRun) runRound(ctx context.Context, a crashAct, number int) error {
	before := t.writers.acked.Load()
	if err := t.waitForSaveCount(ctx, before+5+t.random.Int64N(300)); err != nil {
		return fmt.Errorf("before it: %w", err)
	}
	t.doing, t.wiped = a.name, false
	if err := a.do(t, ctx); err != nil {
		return err
	}
	t.writers.scarce.Store(false)
	t.writers.large.Store(false)
	return t.checkCluster(ctx, number%compareEvery == 0)
}

// checkCluster waits until all have caught up and reads everything back, with the writers held.
func (t *crashRun) checkCluster(ctx context.Context, compare bool) error {
	started := time.Now()
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	t.writers.gate.Lock()
	defer t.writers.gate.Unlock()
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	if took := time.Since(started).Milliseconds(); !t.wiped && took > t.result.SlowestMS {
		t.result.SlowestMS, t.result.Slowest = took, t.doing
	}
	select {
	case err := <-t.writers.failing:
		return err
	default:
	}
	if err := t.writers.verifyAll(ctx); err != nil {
		return err
	}
	if !compare {
		return nil
	}
	t.result.Digests++
	return t.cluster.compareDigests()
}

func (t *crashRun) finishRun(ctx context.Context) error {
	if err := t.checkCluster(ctx, true); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	rounds := t.settings.kills + t.settings.power + t.settings.full + t.settings.hang
	if got, want := t.writers.acked.Load(), int64(5*rounds); got < want {
		return fmt.Errorf("only %d saves were acknowledged, want %d: the run proves nothing", got, want)
	}
	return t.missedMoments()
}

// waitForSaveCount waits until a number of saves are acknowledged.
func (t *crashRun) waitForSaveCount(ctx context.Context, count int64) error {
	for deadline := time.Now().Add(t.settings.caughtUp); t.writers.acked.Load() < count; time.Sleep(time.Millisecond) {
		if err := t.checkFailures(ctx); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("saves are not acknowledged any more")
		}
	}
	return nil
}

// checkFailures is the first failure of a writer or a node. It is called while the run waits.
func (t *crashRun) checkFailures(ctx context.Context) error {
	select {
	case err := <-t.writers.failing:
		return err
	case <-ctx.Done():
		return ctx.Err()
	default:
		return t.cluster.checkNoneEnded()
	}
}

func (t *crashRun) sleepUpTo(upTo time.Duration) {
	time.Sleep(time.Duration(t.random.Int64N(int64(upTo))))
}

// pickNodes picks nodes by chance.
func (t *crashRun) pickNodes(count int) (victims []*nodeProcess) {
	for _, i := range t.random.Perm(nodes)[:count] {
		victims = append(victims, t.cluster.nodes[i])
	}
	return victims
}
