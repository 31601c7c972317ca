//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"
)

// trial is one run: rounds, each of which takes something down and then looks that nothing is missing.
type trial struct {
	settings settings
	cluster  *cluster
	writers  *writers
	random   *rand.Rand
	began    time.Time
	verdict  verdict
	doing    string // the act of this round
	wiped    bool   // in this round: who is new needs longer
}

const (
	compareEvery = 10 // rounds
	tellEvery    = 10
)

// act is one way to take nodes down. It leaves every process running or about to.
type act struct {
	name   string
	weight int
	do     func(*trial, context.Context) error
}

func kills() []act {
	return []act{
		{"one", 5, (*trial).killOne},
		{"leader", 5, (*trial).killLeader},
		{"two", 3, (*trial).killTwo},
		{"all", 4, (*trial).killAll},
		{"stopped", 2, (*trial).killStopped},
		{"starting", 4, (*trial).killStarting},
		{"making", 4, (*trial).killMaking},
		{"cutting", 4, (*trial).killCutting},
		{"installing", 4, (*trial).killInstalling},
		{"wiped", 1, (*trial).wipe},
	}
}

func losses() []act {
	return []act{
		{"power of one", 2, (*trial).cutOne},
		{"power of two", 2, (*trial).cutTwo},
		{"power of all", 4, (*trial).cutAll},
	}
}

func (t *trial) run(ctx context.Context) error {
	for _, n := range t.cluster.nodes {
		if err := t.cluster.start(n); err != nil {
			return err
		}
	}
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	t.writers = startWriters(ctx, t.cluster, t.settings.writers, t.settings.seed)
	defer t.writers.stop()
	kinds := []struct {
		rounds int
		acts   []act
		done   *int
	}{
		{t.settings.kills, kills(), &t.verdict.Kills}, {t.settings.power, losses(), &t.verdict.Power}, {t.settings.full, fills(), &t.verdict.Full},
	}
	var rounds []int // of which kind
	for kind, k := range kinds {
		rounds = append(rounds, slices.Repeat([]int{kind}, k.rounds)...)
	}
	t.random.Shuffle(len(rounds), func(i, j int) { rounds[i], rounds[j] = rounds[j], rounds[i] })
	for i, kind := range rounds {
		a := t.pick(kinds[kind].acts)
		if err := t.round(ctx, a, i+1); err != nil {
			return fmt.Errorf("round %d, %s: %w", i+1, a.name, err)
		}
		*kinds[kind].done++
		t.verdict.Acts[a.name]++
		if (i+1)%tellEvery == 0 {
			installed, _ := t.cluster.installs()
			fmt.Fprintf(os.Stderr, "%d of %d rounds, %d saves acknowledged, %d installs, %d s\n", i+1, len(rounds), t.writers.acknowledged(), installed, int(time.Since(t.began).Seconds()))
		}
	}
	return t.finish(ctx)
}

// pick takes an act by chance, and while there are some that this run has not seen, one of those.
func (t *trial) pick(acts []act) act {
	fresh := slices.DeleteFunc(slices.Clone(acts), func(a act) bool { return t.verdict.Acts[a.name] > 0 })
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

func (t *trial) round(ctx context.Context, a act, number int) error {
	before := t.writers.acknowledged()
	if err := t.saved(ctx, before+5+t.random.IntN(300)); err != nil {
		return fmt.Errorf("before it: %w", err)
	}
	t.doing, t.wiped = a.name, false
	if err := a.do(t, ctx); err != nil {
		return err
	}
	t.writers.scarce.Store(false)
	t.writers.large.Store(false)
	return t.look(ctx, number%compareEvery == 0)
}

// look waits until all have caught up and reads everything back, with the writers held.
func (t *trial) look(ctx context.Context, compare bool) error {
	started := time.Now()
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	t.writers.gate.Lock()
	defer t.writers.gate.Unlock()
	if err := t.cluster.waitCaughtUp(ctx, t.settings.caughtUp); err != nil {
		return err
	}
	if took := time.Since(started).Milliseconds(); !t.wiped && took > t.verdict.SlowestMS {
		t.verdict.SlowestMS, t.verdict.Slowest = took, t.doing
	}
	select {
	case err := <-t.writers.failing:
		return err
	default:
	}
	if err := t.writers.verify(ctx); err != nil {
		return err
	}
	if !compare {
		return nil
	}
	t.verdict.Digests++
	return t.cluster.sameDigests(ctx)
}

func (t *trial) finish(ctx context.Context) error {
	if err := t.look(ctx, true); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if got, want := t.writers.acknowledged(), 5*(t.settings.kills+t.settings.power+t.settings.full); got < want {
		return fmt.Errorf("only %d saves were acknowledged, want %d: the run proves nothing", got, want)
	}
	return t.missed()
}

// saved waits until so many saves were acknowledged.
func (t *trial) saved(ctx context.Context, count int) error {
	for deadline := time.Now().Add(t.settings.caughtUp); t.writers.acknowledged() < count; time.Sleep(time.Millisecond) {
		if err := t.failed(ctx); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("saves are not acknowledged any more")
		}
	}
	return nil
}

// failed is what has gone wrong while something is waited for.
func (t *trial) failed(ctx context.Context) error {
	select {
	case err := <-t.writers.failing:
		return err
	case <-ctx.Done():
		return ctx.Err()
	default:
		return t.cluster.ended()
	}
}

func (t *trial) sleep(upTo time.Duration) { time.Sleep(time.Duration(t.random.Int64N(int64(upTo)))) }

// some are count nodes by chance.
func (t *trial) some(count int) (victims []*node) {
	for _, i := range t.random.Perm(nodes)[:count] {
		victims = append(victims, t.cluster.nodes[i])
	}
	return victims
}

func resume(n *node) error { return n.process.Process.Signal(syscall.SIGCONT) }
