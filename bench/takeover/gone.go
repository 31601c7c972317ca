package takeover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/network"
)

// runCrash kills a game server.
func runCrash(ctx context.Context, t *trial) error {
	t.playOn(ctx)
	victim := (t.round - 1) % testbed.ServerCount
	killed := measure.Now()
	t.Servers[victim].Kill()
	if _, err := t.takeProfiles(ctx, victim, killed); err != nil {
		return err
	}
	return t.StartServers(ctx, victim)
}

// runStopped pauses a game server, and lets it go on once its profiles have other owners.
func runStopped(ctx context.Context, t *trial) error {
	victim := (t.round - 1) % testbed.ServerCount
	s := t.Servers[victim]
	return t.watchLateSaves(ctx, victim, s.Pause, s.Continue)
}

// runLost cuts the network of a game server, and heals it once its profiles have other owners.
func runLost(ctx context.Context, t *trial) error {
	before, err := t.Cluster.FindLeader(ctx)
	if err != nil {
		return err
	}
	dropped := t.Switch.Dropped()
	cut := func() error {
		t.Switch.Drop(network.MatchPairs(network.Pair{From: 0, To: 1}, network.Pair{From: 1, To: 0}))
		return nil
	}
	heal := func() error {
		t.Switch.Drop(nil)
		if t.Switch.Dropped() == dropped {
			return errors.New("not one packet was dropped: nothing was cut")
		}
		return nil
	}
	if err := t.watchLateSaves(ctx, 0, cut, heal); err != nil {
		return err
	}
	after, err := t.Cluster.FindLeader(ctx)
	if err == nil && after != before {
		fmt.Fprintf(t.notes, "lost %d: the lead changed meanwhile: not counted\n", t.round)
		t.taken = &measure.Samples{}
	}
	return err
}

// saveEvery is how often an owner that is about to be stopped or cut off saves each of its profiles.
const saveEvery = 500 * time.Millisecond

// watchLateSaves takes a game server out, lets others take its profiles, and lets it come back and go on saving.
func (t *trial) watchLateSaves(ctx context.Context, victim int, takeOut, bringBack func() error) error {
	s := t.Servers[victim]
	if _, err := s.Do(ctx, testbed.Order{Do: testbed.KeepSaving, Keys: t.KeysOf(victim), Every: saveEvery}); err != nil {
		return err
	}
	t.playOn(ctx)
	gone := measure.Now()
	if err := takeOut(); err != nil {
		return err
	}
	taken, err := t.takeProfiles(ctx, victim, gone)
	if err := errors.Join(err, bringBack()); err != nil {
		return err
	}
	all, err := s.Do(ctx, testbed.Order{Do: testbed.ReportSaves, Keys: t.KeysOf(victim), After: taken})
	if err != nil {
		return err
	}
	landed := make(map[string]bool)
	for _, a := range all {
		t.late.Add(a.Saves)
		landed[a.Key] = a.Saves.Landed > 0
	}
	if err := t.countVisible(ctx, victim, landed); err != nil {
		return err
	}
	return t.StartSessions(ctx, victim)
}

// countVisible counts the profiles with data of the former owner, and lets the new ones save once more: no other game server
// has made revisions since theirs.
func (t *trial) countVisible(ctx context.Context, victim int, landed map[string]bool) error {
	for i, keys := range t.divideProfiles(victim) {
		all, err := t.Servers[i].Do(ctx, testbed.Order{Do: testbed.ReadWriter, Keys: keys})
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.Writer == t.Servers[victim].Name && !landed[a.Key] {
				t.visible++
			}
		}
		if _, err := t.Servers[i].Do(ctx, testbed.Order{Do: testbed.Save, Keys: keys}); err != nil {
			return fmt.Errorf("save under the new owner: %w", err)
		}
	}
	return nil
}

// takeProfiles starts sessions of all profiles of a game server on the others, and returns when each began.
func (t *trial) takeProfiles(ctx context.Context, victim int, gone measure.Moment) (taken map[string]measure.Moment, err error) {
	orders := make(map[int]testbed.Order)
	for i, keys := range t.divideProfiles(victim) {
		orders[i] = testbed.Order{Do: testbed.StartSession, Keys: keys}
	}
	answers, err := t.DoAll(ctx, orders)
	taken = make(map[string]measure.Moment)
	for _, all := range answers {
		for _, a := range all {
			if a.Fault == "" {
				taken[a.Key] = a.Ended
				t.taken.Add(a.Ended.Since(gone))
			}
		}
	}
	if err != nil {
		return taken, fmt.Errorf("%d of %d profiles were not started elsewhere: %w", t.Sessions-len(taken), t.Sessions, err)
	}
	return taken, nil
}

// divideProfiles deals a game server's profiles out to the others.
func (t *trial) divideProfiles(victim int) map[int][]string {
	shares := make(map[int][]string)
	for n, key := range t.KeysOf(victim) {
		i := (victim + 1 + n%(testbed.ServerCount-1)) % testbed.ServerCount
		shares[i] = append(shares[i], key)
	}
	return shares
}
