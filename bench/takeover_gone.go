package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The phases in which a game server goes, and the others want what it had.

func runCrashPhase(ctx context.Context, t *takeoverTrial) error {
	t.saveUntilSteady(ctx)
	victim := (t.round - 1) % bedServers
	fell := monotonicNow()
	t.bed.servers[victim].killProcess()
	if _, err := t.takeProfilesOver(ctx, victim, fell); err != nil {
		return err
	}
	return t.bed.enterServers(ctx, victim)
}

// scribbleEvery is how often an owner that is about to be stopped or cut off saves each of its profiles.
const scribbleEvery = 500 * time.Millisecond

func runStoppedPhase(ctx context.Context, t *takeoverTrial) error {
	victim := (t.round - 1) % bedServers
	s := t.bed.servers[victim]
	return t.watchStaleWrites(ctx, victim, s.pauseProcess, s.resumeProcess)
}

func runLostPhase(ctx context.Context, t *takeoverTrial) error {
	before, err := t.bed.findLeader(ctx)
	if err != nil {
		return err
	}
	l, had := t.bed.link, len(t.got)
	cut := func() error { l.cutAll(); return nil }
	heal := func() error {
		if l.healAll() == 0 {
			return errors.New("not one packet was dropped: the cut cut nothing")
		}
		return nil
	}
	if err := t.watchStaleWrites(ctx, 0, cut, heal); err != nil {
		return err
	}
	after, err := t.bed.findLeader(ctx)
	if err == nil && after != before {
		fmt.Fprintf(t.notes, "lost %d: the lead changed meanwhile: not counted\n", t.round)
		t.got = t.got[:had]
	}
	return err
}

// watchStaleWrites takes a game server out and its profiles over, and lets it come back and go on saving.
func (t *takeoverTrial) watchStaleWrites(ctx context.Context, victim int, out, back func() error) error {
	s := t.bed.servers[victim]
	if _, err := s.orderAndWait(ctx, botOrder{Do: doScribble, Keys: profilesOf(victim), Every: scribbleEvery}); err != nil {
		return err
	}
	t.saveUntilSteady(ctx)
	fell := monotonicNow()
	if err := out(); err != nil {
		return err
	}
	taken, err := t.takeProfilesOver(ctx, victim, fell)
	if err := errors.Join(err, back()); err != nil {
		return err
	}
	all, err := s.orderAndWait(ctx, botOrder{Do: doTries, Keys: profilesOf(victim), After: taken})
	if err != nil {
		return err
	}
	landed := make(map[string]bool)
	for _, one := range all {
		t.tries.addCounts(one.Tries)
		landed[one.Key] = one.Tries.Landed > 0
	}
	if err := t.checkLanded(ctx, victim, landed); err != nil {
		return err
	}
	return t.bed.waitUntilSettled(ctx, victim)
}

// checkLanded counts the profiles that show what the old owner wrote, and lets the new ones save once more: their revisions
// are nobody else's.
func (t *takeoverTrial) checkLanded(ctx context.Context, victim int, landed map[string]bool) error {
	for i, keys := range t.divideProfiles(victim) {
		all, err := t.bed.servers[i].orderAndWait(ctx, botOrder{Do: doRead, Keys: keys})
		if err != nil {
			return err
		}
		for _, one := range all {
			if one.Who == t.bed.servers[victim].name && !landed[one.Key] {
				t.visible++
			}
		}
		if _, err := t.bed.servers[i].orderAndWait(ctx, botOrder{Do: doSave, Keys: keys}); err != nil {
			return fmt.Errorf("save under the new owner: %w", err)
		}
	}
	return nil
}

// takeProfilesOver asks for everything that a game server has, from the others, and notes when each session began.
func (t *takeoverTrial) takeProfilesOver(ctx context.Context, victim int, fell monotonicTime) (map[string]monotonicTime, error) {
	shares := t.divideProfiles(victim)
	answers := make(map[int]<-chan botAnswer)
	for i, keys := range shares {
		var err error
		if answers[i], err = t.bed.servers[i].sendOrder(botOrder{Do: doStart, Keys: keys}); err != nil {
			return nil, err
		}
	}
	taken := make(map[string]monotonicTime)
	var fault error
	for i, a := range answers {
		all, err := t.bed.servers[i].collectAnswers(ctx, a)
		fault = errors.Join(fault, err)
		for _, one := range all {
			if one.Fault == "" {
				taken[one.Key] = one.Ended
				t.got = append(t.got, one.Ended.since(fell))
			}
		}
	}
	if fault != nil {
		return taken, fmt.Errorf("%d of %d profiles were not started elsewhere: %w", bedSessions-len(taken), bedSessions, fault)
	}
	return taken, nil
}

// divideProfiles are a game server's profiles, dealt out to the others.
func (t *takeoverTrial) divideProfiles(victim int) map[int][]string {
	others := t.bed.otherServers(victim)
	shares := make(map[int][]string)
	for n, key := range profilesOf(victim) {
		i := others[n%len(others)]
		shares[i] = append(shares[i], key)
	}
	return shares
}
