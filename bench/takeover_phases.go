package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// phase is one thing that happens to a profile, tried a few times.
type phase struct {
	name   string
	says   string
	goal   goal
	rounds int
	limit  time.Duration // for one round
	behind bool          // a link: the first game server lives in a namespace
	run    func(ctx context.Context, t *trial) error
}

// setUpLimit is for a phase's cluster and game servers.
const setUpLimit = 90 * time.Second

// lease is how long a game server may be silent.
const lease = 10 * time.Second

func takeoverPhases() []phase {
	return []phase{
		{
			name: "message", says: "a message, from before it is sent until its handler is called on another game server",
			goal: goal{p50: 5 * time.Millisecond, p99: 50 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: message,
		}, {
			name: "handoff", says: "a session on a profile that a living game server has, which lets go",
			goal: goal{p50: 50 * time.Millisecond, p99: 250 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: handOff,
		}, {
			name: "steal", says: "the same, which does not wait for its last save",
			goal: goal{p50: 50 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: steal,
		}, {
			name: "failover", says: "kill -9 of the leader until a save begun after it is acknowledged",
			goal: goal{p50: time.Second}, rounds: 8, limit: 40 * time.Second, run: failOver,
		}, {
			name: "crash", says: "kill -9 of a game server until a profile of it is started elsewhere",
			goal: goal{p50: 500 * time.Millisecond, p99: 2 * time.Second}, rounds: 6, limit: 60 * time.Second, run: crash,
		}, {
			name: "stopped", says: "the same after SIGSTOP",
			goal: goal{max: lease + 2*time.Second}, rounds: 3, limit: 2 * time.Minute, run: stopped,
		}, {
			name: "lost", says: "the same after its network was cut",
			goal: goal{p50: 6 * time.Second, max: 12 * time.Second}, rounds: 3, limit: 2 * time.Minute, behind: true, run: lost,
		},
	}
}

func describePhases() string {
	var b strings.Builder
	for _, p := range takeoverPhases() {
		fmt.Fprintf(&b, "  %-9s %s\n", p.name, p.says)
	}
	return b.String()
}

// outcome is what came of a phase.
type outcome struct {
	phase   phase
	got     samples
	tries   tries
	visible int // profiles that show what an old owner wrote without being told that it landed
	skipped string
	fault   error
}

func (o outcome) landed() int { return o.tries.Landed + o.visible }

// trial is a phase under way.
type trial struct {
	*outcome
	bed   *bed
	round int
	notes io.Writer
}

// try runs a phase on a bed of its own, within a bounded time. What was measured before a fault counts.
func (p phase) try(ctx context.Context, program, dir string, notes io.Writer) (o outcome) {
	o.phase = p
	ctx, cancel := context.WithTimeout(ctx, setUpLimit+time.Duration(p.rounds)*p.limit)
	defer cancel()
	var l *link
	if p.behind {
		var err error
		if l, err = openLink(); err != nil {
			o.skipped = err.Error()
			return o
		}
		defer l.close()
	}
	b, err := makeBed(ctx, program, dir, l, 1)
	if err != nil {
		o.fault = fmt.Errorf("set up: %w", err)
		return o
	}
	defer b.close()
	t := &trial{outcome: &o, bed: b, notes: notes}
	for t.round = 1; t.round <= p.rounds && o.fault == nil; t.round++ {
		before := len(o.got)
		o.fault = p.run(ctx, t)
		fresh := o.got[before:]
		fmt.Fprintf(notes, "%s %d of %d: %d samples, p50 %s, max %s\n", p.name, t.round, p.rounds, len(fresh), brief(fresh.at(0.5)), brief(fresh.at(1)))
	}
	return o
}

// steady lets the game go on for a while that is in step with nothing.
func (t *trial) steady(ctx context.Context) {
	pause(ctx, 2*time.Second+rand.N(time.Second))
}

// messagesEach are sent by every game server in a round, one each messageEvery on average.
const (
	messagesEach = 50
	messageEvery = 20 * time.Millisecond
)

func message(ctx context.Context, t *trial) error {
	sent := 0
	var answers []<-chan told
	for i, s := range t.bed.servers {
		keys := home((i + 1) % bedServers)
		rand.Shuffle(len(keys), func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
		a, err := s.order(order{Do: doSend, Keys: keys[:messagesEach], Every: messageEvery})
		if err != nil {
			return err
		}
		answers = append(answers, a)
		sent += messagesEach
	}
	var logged samples
	for i, s := range t.bed.servers {
		all, err := s.collect(ctx, answers[i])
		if err != nil {
			return err
		}
		for _, one := range all {
			logged = append(logged, one.Ended.since(one.Began))
		}
	}
	fmt.Fprintf(t.notes, "message %d: its sender knows that it is in the log after p50 %s, p99 %s\n", t.round, brief(logged.at(0.5)), brief(logged.at(0.99)))
	heard := 0
	for deadline := time.Now().Add(10 * time.Second); heard < sent; pause(ctx, 20*time.Millisecond) {
		for _, s := range t.bed.servers {
			all, err := s.tell(ctx, order{Do: doHeard})
			if err != nil {
				return err
			}
			heard += len(all[0].Heard)
			t.got = append(t.got, all[0].Heard...)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d messages were never handled", sent-heard, sent)
		}
	}
	return nil
}

// movesEach are hand-offs or steals in a round, one after the other.
const movesEach = 40

func handOff(ctx context.Context, t *trial) error { return t.move(ctx, false) }

func steal(ctx context.Context, t *trial) error { return t.move(ctx, true) }

// move lets each game server in turn take profiles of the one before it; each has something unsaved. They stay there, so
// that another round takes others, and once all have moved takes them on.
func (t *trial) move(ctx context.Context, rob bool) error {
	for i := range movesEach {
		n := (t.round-1)*movesEach + i
		origin, turn := n%bedServers, n/bedServers
		key := home(origin)[turn%bedSessions]
		owner := (origin + turn/bedSessions) % bedServers
		if _, err := t.bed.servers[owner].tell(ctx, order{Do: doTouch, Keys: []string{key}}); err != nil {
			return err
		}
		all, err := t.bed.servers[(owner+1)%bedServers].tell(ctx, order{Do: doStart, Keys: []string{key}, Steal: rob})
		if err != nil {
			return err
		}
		t.got = append(t.got, all[0].Ended.since(all[0].Began))
	}
	return nil
}

// failOverSavers are sessions of each game server that save without a pause to speak of.
const (
	failOverSavers = 2
	failOverPause  = 5 * time.Millisecond
)

func failOver(ctx context.Context, t *trial) error {
	if t.round == 1 {
		for i, s := range t.bed.servers {
			if _, err := s.tell(ctx, order{Do: doScribble, Keys: home(i)[:failOverSavers], Every: failOverPause}); err != nil {
				return err
			}
		}
	}
	t.steady(ctx)
	leads, err := t.bed.leader(ctx)
	if err != nil {
		return err
	}
	fell := thisMoment()
	leads.kill()
	var answers []<-chan told
	for i, s := range t.bed.servers {
		keys := home(i)[:failOverSavers]
		a, err := s.order(order{Do: doSaved, Keys: keys, After: everyOne(keys, fell)})
		if err != nil {
			return err
		}
		answers = append(answers, a)
	}
	for i, s := range t.bed.servers {
		all, err := s.collect(ctx, answers[i])
		if err != nil {
			return err
		}
		for _, one := range all {
			t.got = append(t.got, one.Ended.since(fell))
		}
	}
	if err := leads.start(); err != nil {
		return err
	}
	return t.bed.caughtUp(ctx, leads)
}

func everyOne(keys []string, at moment) map[string]moment {
	all := make(map[string]moment, len(keys))
	for _, key := range keys {
		all[key] = at
	}
	return all
}
