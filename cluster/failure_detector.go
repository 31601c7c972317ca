package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	stuckLimit   = time.Second      // an entry or an apply unfinished for longer: this leader confirms no renewals
	maxContested = 10_000           // rows looked at in one tick
	readEvery    = time.Second      // the rows of all game servers: with thousands they are most of a tick's cost
	heardFor     = 10 * time.Second // an incarnation that was heard, and is not in the rows as last read, is forgotten after this
)

// Renew proves the lead and notes that inc was heard, as of when Renew was called: the one thing that renews. The caller
// answers the incarnation after it, from tables read after it, and they may say that inc is gone. While a verdict on inc is
// under way Renew waits for its outcome. ErrUnproven also says that this leader is too slow just now to be relied on.
func (n *Node) Renew(ctx context.Context, inc lock.Incarnation) (term uint64, err error) {
	term, err = n.confirmRenewal(ctx, inc)
	n.config.Metrics.Renewed(err)
	return term, err
}

func (n *Node) confirmRenewal(ctx context.Context, inc lock.Incarnation) (term uint64, err error) {
	arrived := time.Now()
	l, err := n.awaitLeaderState(ctx)
	if err != nil {
		return 0, err
	}
	l.observers.noteRequest(inc)
	if err := l.checkPrompt(); err != nil {
		return 0, err
	}
	if err := l.confirmer.confirmSoon(ctx); err != nil {
		return 0, err
	}
	if err := l.detector.noteRenewal(ctx, inc, arrived); err != nil {
		return 0, err
	}
	return l.term, nil
}

// checkPrompt is an error while proposals or applies here are stuck.
func (l *leaderState) checkPrompt() error {
	if passed := l.queue.oldestWait(); passed > stuckLimit {
		return fmt.Errorf("%w: an entry has been on its way for %v", ErrUnproven, passed.Round(time.Millisecond))
	}
	if since, running := l.node.replica.applyingSince(); running && time.Since(since) > stuckLimit {
		return fmt.Errorf("%w: an apply has been running since %v", ErrUnproven, since)
	}
	return nil
}

// SilenceOf is how long this leader has not heard inc; ok is false when this node does not lead or inc does not live.
func (n *Node) SilenceOf(inc lock.Incarnation) (silent time.Duration, ok bool) {
	l := n.leaderStateNow()
	if l == nil {
		return 0, false
	}
	return l.detector.silenceOf(inc)
}

// PendingSince is how long this leader has been waiting for an owner that was asked to let go, or that was revoked, to say
// that it is over; ok is false when it does not lead, or has not seen it yet.
func (n *Node) PendingSince(g fsm.OwnedGrant) (pending time.Duration, ok bool) {
	l := n.leaderStateNow()
	if l == nil {
		return 0, false
	}
	l.detector.mu.Lock()
	defer l.detector.mu.Unlock()
	first, ok := l.detector.disputes[contestedGrantOf(g)]
	return max(0, time.Since(first)), ok
}

// failureDetector finds, for one lead, the game servers that are gone. None is judged by anything that this lead did not hear
// itself.
type failureDetector struct {
	l        *leaderState
	detector lock.Detector
	wake     chan struct{} // there is something to act on

	mu       sync.Mutex
	heard    map[lock.Incarnation]time.Time      // of the living
	trials   map[lock.Incarnation]chan struct{}  // closed with the outcome of the verdict under way
	verdicts []*fsm.Verdict                      // to propose
	stories  map[lock.Incarnation]takeoverRecord // of those under trial
	walks    map[lock.Incarnation]struct{}       // gone incarnations with waiters to be served
	disputes map[contestedGrant]time.Time        // when this lead first saw it
	acts     []*fsm.Command                      // Revoke and Lapse, to propose

	due time.Time

	// Who lived when the rows were read last. Whoever is missing registered a moment ago, and counts from the next reading
	// or from its first renewal.
	living map[lock.Incarnation]lock.Timing // the class that each registered with, as its owner was told
	read   time.Time
	stale  bool // an incarnation has begun or ended since; guarded by mu

	// Of the living, those with a process that registered again and said that it had stopped using their sessions, each with
	// its successor. Guarded by mu.
	replaced map[lock.Incarnation]lock.Incarnation
}

// contestedGrant is a grant that has waiters, or that was revoked and not let go.
type contestedGrant struct {
	store, key string
	token      lock.Token
	revoked    bool
}

func contestedGrantOf(g fsm.OwnedGrant) contestedGrant {
	return contestedGrant{store: g.Store, key: g.Key, token: g.Token, revoked: g.Revoked}
}

func newFailureDetector(l *leaderState) *failureDetector {
	return &failureDetector{
		l: l, detector: l.node.config.Detector, wake: make(chan struct{}, 1),
		heard: map[lock.Incarnation]time.Time{}, trials: map[lock.Incarnation]chan struct{}{}, stories: map[lock.Incarnation]takeoverRecord{},
		walks: map[lock.Incarnation]struct{}{}, disputes: map[contestedGrant]time.Time{},
	}
}

// noteRenewal notes a renewal that arrived then, unless an expiry is under way: then its outcome decides the answer.
func (j *failureDetector) noteRenewal(ctx context.Context, inc lock.Incarnation, arrived time.Time) error {
	for {
		j.mu.Lock()
		if by := j.replaced[inc]; by != 0 {
			j.mu.Unlock()
			return fmt.Errorf("%w: its process registered anew, as incarnation %d, and this one is about to end", ErrUnproven, by)
		}
		trial := j.trials[inc]
		if trial == nil {
			if _, known := j.heard[inc]; !known {
				j.stale = true // it is new
			}
			if j.heard[inc].Before(arrived) {
				j.heard[inc] = arrived
			}
			j.mu.Unlock()
			return nil
		}
		j.mu.Unlock()
		select {
		case <-trial:
		case <-ctx.Done():
			return fmt.Errorf("%w: a verdict is under way: %w", ErrUnproven, ctx.Err())
		case <-j.l.ctx.Done():
			return j.l.node.notLeaderError()
		}
	}
}

func (j *failureDetector) silenceOf(inc lock.Incarnation) (time.Duration, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	heard, ok := j.heard[inc]
	return max(0, time.Since(heard)), ok
}

// onEvents is told of game servers that have ended, from apply: it must not block.
func (j *failureDetector) onEvents(events []fsm.Event) {
	j.mu.Lock()
	for _, e := range events {
		if e.Kind == fsm.ServerEnded {
			j.walks[e.Server] = struct{}{}
			j.stale = true
		}
	}
	j.mu.Unlock()
	j.wakeUp()
}

func (j *failureDetector) wakeUp() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// runUntilEnd looks at each tick.
func (j *failureDetector) runUntilEnd() {
	tick := time.NewTicker(j.detector.TickPeriod)
	defer tick.Stop()
	j.due = time.Now()
	for {
		if err := j.checkAll(time.Now()); err != nil && j.l.ctx.Err() == nil {
			j.l.node.log.Error("judge cannot read the tables", "error", err)
		}
		select {
		case <-j.l.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkAll is one tick. Time by which it came late is given to all game servers: a failure detector that was held up has
// unread renewals.
func (j *failureDetector) checkAll(now time.Time) error {
	j.mu.Lock()
	stale := j.stale || now.Sub(j.read) >= readEvery
	j.stale = false // before the view is opened: an incarnation that begins or ends after that makes it stale again
	j.mu.Unlock()
	view, err := j.l.node.tables.openView()
	if err != nil {
		return err
	}
	defer view.Close()
	if stale {
		if err := j.readLiving(view); err != nil {
			return err
		}
		j.read = now
	}
	contested, err := view.Contested(0, maxContested)
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.excuseLateTick(now)
	j.checkSilence(now, view)
	j.l.observers.visitAll(now, j.living, j.replaced)
	j.checkContested(now, contested)
	j.mu.Unlock()
	j.wakeUp()
	return nil
}

func (j *failureDetector) readLiving(view *View) error {
	servers, err := view.Servers()
	if err != nil {
		return err // rows that were read before still count
	}
	living := make(map[lock.Incarnation]lock.Timing, len(j.living))
	replaced := map[lock.Incarnation]lock.Incarnation{}
	for _, s := range servers {
		if s.Alive {
			living[s.Incarnation] = s.Class.Timing
			if s.Successor != 0 {
				replaced[s.Incarnation] = s.Successor
			}
		}
	}
	j.living = living
	j.mu.Lock()
	j.replaced = replaced
	j.mu.Unlock()
	return nil
}

// excuseLateTick moves all times of hearing by the lateness of this tick, and by all that has passed since the last one while
// this leader is too slow to confirm renewals: a game server without an answer was not silent. mu must be held.
func (j *failureDetector) excuseLateTick(now time.Time) {
	late := now.Sub(j.due)
	j.due = now.Add(j.detector.TickPeriod)
	if j.l.checkPrompt() != nil {
		late += j.detector.TickPeriod
	}
	if late <= j.detector.TickPeriod/10 {
		return
	}
	later := func(t time.Time) time.Time {
		if t = t.Add(late); t.After(now) {
			return now
		}
		return t
	}
	for inc, t := range j.heard {
		j.heard[inc] = later(t)
	}
	for d, t := range j.disputes {
		j.disputes[d] = later(t)
	}
}

// checkSilence finds the living game servers that are gone. The silence of one that is new, to the cluster or to this lead,
// counts from now. mu must be held.
func (j *failureDetector) checkSilence(now time.Time, view *View) {
	for inc, timing := range j.living {
		heard, known := j.heard[inc]
		if !known {
			j.heard[inc] = now
			continue
		}
		if heard.Before(j.l.opened) {
			heard = j.l.opened
		}
		j.openExpiry(now, view, inc, timing, now.Sub(heard))
	}
	maps.DeleteFunc(j.heard, func(inc lock.Incarnation, heard time.Time) bool {
		_, alive := j.living[inc]
		return !alive && now.Sub(heard) > heardFor
	})
}

// openExpiry finds whether a living incarnation is gone, unless that is being found out already. mu must be held.
func (j *failureDetector) openExpiry(now time.Time, view *View, inc lock.Incarnation, timing lock.Timing, silent time.Duration) {
	if j.trials[inc] != nil {
		return
	}
	signals := j.l.observers.signalsOf(inc, now, j.replaced[inc])
	signals.Silent = silent
	signals.GossipDead = j.l.node.seemsDead(inc)
	ground := j.detector.FindGround(timing, signals)
	if ground == lock.Living {
		return
	}
	// The command that the expiry names must be its last one by now.
	s, ok, err := view.Server(inc)
	if err != nil || !ok || !s.Alive {
		return // the next look says why, or knows
	}
	j.trials[s.Incarnation] = make(chan struct{})
	j.stories[s.Incarnation] = takeoverRecord{
		inc: inc, last: s.Last, name: s.Name, where: s.Where, sessions: s.Sessions, ground: ground, signals: signals, heard: j.heard[inc],
	}
	j.verdicts = append(j.verdicts, &fsm.Verdict{Incarnation: uint64(s.Incarnation), Last: uint64(s.Last), Ground: uint32(ground)})
}

// addProof judges one incarnation at once, between two ticks, on proof alone: of silence only ticks may speak, since they
// know by how much they are late.
func (j *failureDetector) addProof(inc lock.Incarnation) {
	now := time.Now()
	if !j.detector.ShowsProcessGone(j.l.observers.signalsOf(inc, now, 0)) {
		return
	}
	view, err := j.l.node.tables.openView()
	if err != nil {
		return // this node ends, or the next look says why
	}
	defer view.Close()
	j.mu.Lock()
	if _, known := j.heard[inc]; !known {
		j.heard[inc] = now
		j.stale = true
	}
	j.openExpiry(now, view, inc, lock.DefaultTiming(), 0) // whatever its class: without silence only proof is found
	j.mu.Unlock()
	j.wakeUp()
}

// checkContested finds owners that were asked to let go for too long, revoked ones that have been silent for long enough, and
// gone ones with profiles that have waiters. mu must be held.
func (j *failureDetector) checkContested(now time.Time, contested []fsm.OwnedGrant) {
	current := make(map[contestedGrant]bool, len(contested))
	for _, g := range contested {
		timing, alive := j.living[g.Owner]
		if !alive {
			if g.Owner != 0 {
				j.walks[g.Owner] = struct{}{}
			}
			continue
		}
		d := contestedGrantOf(g)
		current[d] = true
		first, known := j.disputes[d]
		if !known {
			j.disputes[d] = now
			continue
		}
		switch passed := now.Sub(first); {
		case g.Revoked && timing.LapseIsDue(passed):
			j.acts = append(j.acts, fsm.NewCommand(nil, &fsm.Lapse{Term: j.l.term, Store: g.Store, Key: g.Key, Token: uint64(g.Token)}))
		case !g.Revoked && passed >= timing.HandOff:
			j.acts = append(j.acts, fsm.NewCommand(nil, &fsm.Revoke{Store: g.Store, Key: g.Key, Token: uint64(g.Token), Waited: true}))
		default:
			continue
		}
		j.disputes[d] = now // and again, should this one not get through
	}
	maps.DeleteFunc(j.disputes, func(d contestedGrant, _ time.Time) bool { return !current[d] })
}

// due work of the judge, taken out of it.
type dueExpiries struct {
	verdicts []*fsm.Verdict
	acts     []*fsm.Command
	walks    []lock.Incarnation
}

func (j *failureDetector) takeDueExpiries() dueExpiries {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := dueExpiries{verdicts: j.verdicts, acts: j.acts, walks: slices.Sorted(maps.Keys(j.walks))}
	j.verdicts, j.acts = nil, nil
	clear(j.walks)
	return s
}
