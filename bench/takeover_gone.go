package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The phases in which a game server goes, and the others want what it had.

func crash(ctx context.Context, t *trial) error {
	t.steady(ctx)
	victim := (t.round - 1) % bedServers
	fell := thisMoment()
	t.bed.servers[victim].kill()
	if _, err := t.takeOver(ctx, victim, fell); err != nil {
		return err
	}
	return t.bed.enter(ctx, victim)
}

// scribbleEvery is how often an owner that is about to be stopped or cut off saves each of its profiles.
const scribbleEvery = 500 * time.Millisecond

func stopped(ctx context.Context, t *trial) error {
	victim := (t.round - 1) % bedServers
	s := t.bed.servers[victim]
	return t.zombie(ctx, victim, s.stop, s.resume)
}

func lost(ctx context.Context, t *trial) error {
	before, err := t.bed.leader(ctx)
	if err != nil {
		return err
	}
	l, had := t.bed.link, len(t.got)
	cut := func() error { l.cut(); return nil }
	heal := func() error {
		if l.heal() == 0 {
			return errors.New("not one packet was dropped: the cut cut nothing")
		}
		return nil
	}
	if err := t.zombie(ctx, 0, cut, heal); err != nil {
		return err
	}
	after, err := t.bed.leader(ctx)
	if err == nil && after != before {
		fmt.Fprintf(t.notes, "lost %d: the lead changed meanwhile: not counted\n", t.round)
		t.got = t.got[:had]
	}
	return err
}

// zombie takes a game server out and its profiles over, and lets it come back and go on saving.
func (t *trial) zombie(ctx context.Context, victim int, out, back func() error) error {
	s := t.bed.servers[victim]
	if _, err := s.tell(ctx, order{Do: doScribble, Keys: home(victim), Every: scribbleEvery}); err != nil {
		return err
	}
	t.steady(ctx)
	fell := thisMoment()
	if err := out(); err != nil {
		return err
	}
	taken, err := t.takeOver(ctx, victim, fell)
	if err := errors.Join(err, back()); err != nil {
		return err
	}
	all, err := s.tell(ctx, order{Do: doTries, Keys: home(victim), After: taken})
	if err != nil {
		return err
	}
	landed := make(map[string]bool)
	for _, one := range all {
		t.tries.add(one.Tries)
		landed[one.Key] = one.Tries.Landed > 0
	}
	if err := t.look(ctx, victim, landed); err != nil {
		return err
	}
	return t.bed.settle(ctx, victim)
}

// look counts the profiles that show what the old owner wrote, and lets the new ones save once more: their revisions are
// nobody else's.
func (t *trial) look(ctx context.Context, victim int, landed map[string]bool) error {
	for i, keys := range t.shares(victim) {
		all, err := t.bed.servers[i].tell(ctx, order{Do: doRead, Keys: keys})
		if err != nil {
			return err
		}
		for _, one := range all {
			if one.Who == t.bed.servers[victim].name && !landed[one.Key] {
				t.visible++
			}
		}
		if _, err := t.bed.servers[i].tell(ctx, order{Do: doSave, Keys: keys}); err != nil {
			return fmt.Errorf("save under the new owner: %w", err)
		}
	}
	return nil
}

// takeOver asks for everything that a game server has, from the others, and notes when each session began.
func (t *trial) takeOver(ctx context.Context, victim int, fell moment) (map[string]moment, error) {
	shares := t.shares(victim)
	answers := make(map[int]<-chan told)
	for i, keys := range shares {
		var err error
		if answers[i], err = t.bed.servers[i].order(order{Do: doStart, Keys: keys}); err != nil {
			return nil, err
		}
	}
	taken := make(map[string]moment)
	var fault error
	for i, a := range answers {
		all, err := t.bed.servers[i].collect(ctx, a)
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

// shares are a game server's profiles, dealt out to the others.
func (t *trial) shares(victim int) map[int][]string {
	others := t.bed.others(victim)
	shares := make(map[int][]string)
	for n, key := range home(victim) {
		i := others[n%len(others)]
		shares[i] = append(shares[i], key)
	}
	return shares
}
