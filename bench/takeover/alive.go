package takeover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
)

const (
	messagesEach = 50 // that every game server sends in a round
	messageEvery = 20 * time.Millisecond

	movesEach = 40 // hand-offs or steals in a round, one after the other

	failoverSavers = 2 // sessions of each game server that save almost without a pause
	failoverPause  = 5 * time.Millisecond
)

// runMessage lets each game server send messages to profiles of the next.
func runMessage(ctx context.Context, t *trial) error {
	answers, err := t.DoOnAll(ctx, func(server int) testbed.Order {
		keys := t.KeysOf((server + 1) % testbed.ServerCount)
		rand.Shuffle(len(keys), func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
		return testbed.Order{Do: testbed.SendMessage, Keys: keys[:messagesEach], Every: messageEvery}
	})
	if err != nil {
		return err
	}
	var logged measure.Samples
	for _, all := range answers {
		for _, a := range all {
			logged.Add(a.Ended.Since(a.Began))
		}
	}
	fmt.Fprintf(t.notes, "message %d: its sender knows that it is in the log after p50 %s, p99 %s\n", t.round,
		measure.FormatDuration(logged.Quantile(0.5)), measure.FormatDuration(logged.Quantile(0.99)))
	const sent = messagesEach * testbed.ServerCount
	for deadline := time.Now().Add(10 * time.Second); t.taken.Count() < sent; measure.Sleep(ctx, 20*time.Millisecond) {
		answers, err := t.DoOnAll(ctx, func(int) testbed.Order { return testbed.Order{Do: testbed.ReportMessages} })
		if err != nil {
			return err
		}
		for _, all := range answers {
			t.taken.Add(all[0].Messages...)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d messages were never handled", sent-t.taken.Count(), sent)
		}
	}
	return nil
}

func runHandOff(ctx context.Context, t *trial) error {
	return t.moveProfiles(ctx, testbed.StartSession)
}

func runSteal(ctx context.Context, t *trial) error { return t.moveProfiles(ctx, testbed.Steal) }

// moveProfiles lets each game server in turn take profiles of the one before it; each has something unsaved. They stay there,
// so that the next round takes others, and takes them further once all have moved.
func (t *trial) moveProfiles(ctx context.Context, act testbed.Act) error {
	for i := range movesEach {
		n := (t.round-1)*movesEach + i
		origin, turn := n%testbed.ServerCount, n/testbed.ServerCount
		key := t.KeysOf(origin)[turn%sessionCount : turn%sessionCount+1]
		owner := (origin + turn/sessionCount) % testbed.ServerCount
		if _, err := t.Servers[owner].Do(ctx, testbed.Order{Do: testbed.ChangeData, Keys: key}); err != nil {
			return err
		}
		all, err := t.Servers[(owner+1)%testbed.ServerCount].Do(ctx, testbed.Order{Do: act, Keys: key})
		if err != nil {
			return err
		}
		t.taken.Add(all[0].Ended.Since(all[0].Began))
	}
	return nil
}

// runFailover kills the leader.
func runFailover(ctx context.Context, t *trial) error {
	saving := func(server int) []string { return t.KeysOf(server)[:failoverSavers] }
	if t.round == 1 {
		if _, err := t.DoOnAll(ctx, func(server int) testbed.Order {
			return testbed.Order{Do: testbed.KeepSaving, Keys: saving(server), Every: failoverPause}
		}); err != nil {
			return err
		}
	}
	t.playOn(ctx)
	leader, err := t.Cluster.FindLeader(ctx)
	if err != nil {
		return err
	}
	killed := measure.Now()
	_ = leader.Kill()
	answers, err := t.DoOnAll(ctx, func(server int) testbed.Order {
		return testbed.Order{Do: testbed.WaitForNewSave, Keys: saving(server), After: testbed.AllAt(saving(server), killed)}
	})
	if err != nil {
		return err
	}
	for _, all := range answers {
		for _, a := range all {
			t.taken.Add(a.Ended.Since(killed))
		}
	}
	if err := leader.Start(); err != nil {
		return err
	}
	return leader.WaitReady(ctx)
}
