package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// takeoverPhase is one thing that happens to a profile, tried a few times.
type takeoverPhase struct {
	name   string
	says   string
	goal   latencyGoal
	rounds int
	limit  time.Duration // for one round
	behind bool          // a link: the first game server lives in a namespace
	run    func(ctx context.Context, t *takeoverTrial) error
}

// setUpLimit is for a phase's cluster and game servers.
const setUpLimit = 90 * time.Second

// lease is how long a game server may be silent.
const lease = 10 * time.Second

func takeoverPhases() []takeoverPhase {
	return []takeoverPhase{
		{
			name: "message", says: "a message, from before it is sent until its handler is called on another game server",
			goal: latencyGoal{p50: 5 * time.Millisecond, p99: 50 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: runMessagePhase,
		}, {
			name: "handoff", says: "a session on a profile that a living game server has, which lets go",
			goal: latencyGoal{p50: 50 * time.Millisecond, p99: 250 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: runHandOffPhase,
		}, {
			name: "steal", says: "the same, which does not wait for its last save",
			goal: latencyGoal{p50: 50 * time.Millisecond}, rounds: 5, limit: 20 * time.Second, run: runStealPhase,
		}, {
			name: "failover", says: "kill -9 of the leader until a save begun after it is acknowledged",
			goal: latencyGoal{p50: time.Second}, rounds: 8, limit: 40 * time.Second, run: runFailoverPhase,
		}, {
			name: "crash", says: "kill -9 of a game server until a profile of it is started elsewhere",
			goal: latencyGoal{p50: 500 * time.Millisecond, p99: 2 * time.Second}, rounds: 6, limit: 60 * time.Second, run: runCrashPhase,
		}, {
			name: "stopped", says: "the same after SIGSTOP",
			goal: latencyGoal{max: lease + 2*time.Second}, rounds: 3, limit: 2 * time.Minute, run: runStoppedPhase,
		}, {
			name: "lost", says: "the same after its network was cut",
			goal: latencyGoal{p50: 6 * time.Second, max: 12 * time.Second}, rounds: 3, limit: 2 * time.Minute, behind: true, run: runLostPhase,
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

// phaseResult is what came of a phase.
type phaseResult struct {
	phase   takeoverPhase
	got     durationSamples
	tries   staleWrites
	visible int // profiles that show what an old owner wrote without being told that it landed
	skipped string
	fault   error
}

func (o phaseResult) landed() int { return o.tries.Landed + o.visible }

// takeoverTrial is a phase under way.
type takeoverTrial struct {
	*phaseResult
	bed   *testBed
	round int
	notes io.Writer
}

// runPhase runs a phase on a bed of its own, within a bounded time. What was measured before a fault counts.
func (p takeoverPhase) runPhase(ctx context.Context, program, dir string, notes io.Writer) (o phaseResult) {
	o.phase = p
	ctx, cancel := context.WithTimeout(ctx, setUpLimit+time.Duration(p.rounds)*p.limit)
	defer cancel()
	var l *netLink
	if p.behind {
		var err error
		if l, err = openNetLink(); err != nil {
			o.skipped = err.Error()
			return o
		}
		defer l.closeLink()
	}
	b, err := makeTestBed(ctx, program, dir, l, 1)
	if err != nil {
		o.fault = fmt.Errorf("set up: %w", err)
		return o
	}
	defer b.closeAll()
	t := &takeoverTrial{phaseResult: &o, bed: b, notes: notes}
	for t.round = 1; t.round <= p.rounds && o.fault == nil; t.round++ {
		before := len(o.got)
		o.fault = p.run(ctx, t)
		fresh := o.got[before:]
		fmt.Fprintf(notes, "%s %d of %d: %d samples, p50 %s, max %s\n", p.name, t.round, p.rounds, len(fresh), formatBrief(fresh.quantile(0.5)), formatBrief(fresh.quantile(1)))
	}
	return o
}

// saveUntilSteady lets the game go on for a while that is in step with nothing.
func (t *takeoverTrial) saveUntilSteady(ctx context.Context) {
	sleepUnlessDone(ctx, 2*time.Second+rand.N(time.Second))
}

// messagesEach are sent by every game server in a round, one each messageEvery on average.
const (
	messagesEach = 50
	messageEvery = 20 * time.Millisecond
)

func runMessagePhase(ctx context.Context, t *takeoverTrial) error {
	sent := 0
	var answers []<-chan botAnswer
	for i, s := range t.bed.servers {
		keys := profilesOf((i + 1) % bedServers)
		rand.Shuffle(len(keys), func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
		a, err := s.sendOrder(botOrder{Do: doSend, Keys: keys[:messagesEach], Every: messageEvery})
		if err != nil {
			return err
		}
		answers = append(answers, a)
		sent += messagesEach
	}
	var logged durationSamples
	for i, s := range t.bed.servers {
		all, err := s.collectAnswers(ctx, answers[i])
		if err != nil {
			return err
		}
		for _, one := range all {
			logged = append(logged, one.Ended.since(one.Began))
		}
	}
	fmt.Fprintf(t.notes, "message %d: its sender knows that it is in the log after p50 %s, p99 %s\n", t.round, formatBrief(logged.quantile(0.5)), formatBrief(logged.quantile(0.99)))
	heard := 0
	for deadline := time.Now().Add(10 * time.Second); heard < sent; sleepUnlessDone(ctx, 20*time.Millisecond) {
		for _, s := range t.bed.servers {
			all, err := s.orderAndWait(ctx, botOrder{Do: doHeard})
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

func runHandOffPhase(ctx context.Context, t *takeoverTrial) error { return t.moveProfiles(ctx, false) }

func runStealPhase(ctx context.Context, t *takeoverTrial) error { return t.moveProfiles(ctx, true) }

// moveProfiles lets each game server in turn take profiles of the one before it; each has something unsaved. They stay there,
// so that another round takes others, and once all have moved takes them on.
func (t *takeoverTrial) moveProfiles(ctx context.Context, rob bool) error {
	for i := range movesEach {
		n := (t.round-1)*movesEach + i
		origin, turn := n%bedServers, n/bedServers
		key := profilesOf(origin)[turn%bedSessions]
		owner := (origin + turn/bedSessions) % bedServers
		if _, err := t.bed.servers[owner].orderAndWait(ctx, botOrder{Do: doTouch, Keys: []string{key}}); err != nil {
			return err
		}
		all, err := t.bed.servers[(owner+1)%bedServers].orderAndWait(ctx, botOrder{Do: doStart, Keys: []string{key}, Steal: rob})
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

func runFailoverPhase(ctx context.Context, t *takeoverTrial) error {
	if t.round == 1 {
		for i, s := range t.bed.servers {
			if _, err := s.orderAndWait(ctx, botOrder{Do: doScribble, Keys: profilesOf(i)[:failOverSavers], Every: failOverPause}); err != nil {
				return err
			}
		}
	}
	t.saveUntilSteady(ctx)
	leads, err := t.bed.findLeader(ctx)
	if err != nil {
		return err
	}
	fell := monotonicNow()
	_ = leads.Kill()
	var answers []<-chan botAnswer
	for i, s := range t.bed.servers {
		keys := profilesOf(i)[:failOverSavers]
		a, err := s.sendOrder(botOrder{Do: doSaved, Keys: keys, After: allAt(keys, fell)})
		if err != nil {
			return err
		}
		answers = append(answers, a)
	}
	for i, s := range t.bed.servers {
		all, err := s.collectAnswers(ctx, answers[i])
		if err != nil {
			return err
		}
		for _, one := range all {
			t.got = append(t.got, one.Ended.since(fell))
		}
	}
	if err := leads.Start(); err != nil {
		return err
	}
	return t.bed.waitCaughtUp(ctx, leads)
}

func allAt(keys []string, at monotonicTime) map[string]monotonicTime {
	all := make(map[string]monotonicTime, len(keys))
	for _, key := range keys {
		all[key] = at
	}
	return all
}
