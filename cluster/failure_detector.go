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
	stuckLimit        = time.Second      // an entry or an apply unfinished for longer: this leader confirms no renewals
	maxContested      = 10_000           // rows looked at in one tick
	livingReadPeriod  = time.Second      // the rows of all game servers: with thousands they are most of a tick's cost
	keepUnlistedHeard = 10 * time.Second // an incarnation that was heard, and is not in the rows as last read, is forgotten after this
)

// Renew proves the lead and notes that inc was heard, as of when Renew was called: the one thing that renews. The caller
// answers the incarnation after it, from tables read after it, and they may say that inc is gone. While a verdict on inc is
// under way Renew waits for its outcome. ErrUnproven also says that this leader is too slow just now to be relied on.
func (n *Node) Renew(ctx context.Context, inc lock.Incarnation) (term uint64, err error) {
	term, err = n.confirmRenewal(ctx, inc)
	n.config.Metrics.RecordRenewal(err)
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
		return fmt.Errorf("%w: an entry has been on its way for %v", ErrUnconfirmed, passed.Round(time.Millisecond))
	}
	if since, running := l.node.replica.applyingSince(); running && time.Since(since) > stuckLimit {
		return fmt.Errorf("%w: an apply has been running since %v", ErrUnconfirmed, since)
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
	first, ok := l.detector.contestedSince[contestedGrantOf(g)]
	return max(0, time.Since(first)), ok
}

// failureDetector finds, for one lead, the game servers that are gone. None is judged by anything that this lead did not hear
// itself.
type failureDetector struct {
	leader   *leaderState
	settings lock.Detector
	wake     chan struct{} // there is something to act on

	mu             sync.Mutex
	lastHeard      map[lock.Incarnation]time.Time      // of the living
	openExpiries   map[lock.Incarnation]chan struct{}  // closed with the outcome of the verdict under way
	dueExpiries    []*fsm.Verdict                      // to propose
	records        map[lock.Incarnation]takeoverRecord // of those under trial
	dueWalks       map[lock.Incarnation]struct{}       // gone incarnations with waiters to be served
	contestedSince map[contestedGrant]time.Time        // when this lead first saw it
	dueCommands    []*fsm.Command                      // Revoke and Lapse, to propose

	nextTick time.Time

	// Who lived when the rows were read last. Whoever is missing registered a moment ago, and counts from the next reading
	// or from its first renewal.
	livingTimings map[lock.Incarnation]lock.Timing // the class that each registered with, as its owner was told
	readAt        time.Time
	stale         bool // an incarnation has begun or ended since; guarded by mu

	// Of the living, those with a process that registered again and said that it had stopped using their sessions, each with
	// its successor. Guarded by mu.
	successors map[lock.Incarnation]lock.Incarnation
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
		leader: l, settings: l.node.config.Detector, wake: make(chan struct{}, 1),
		lastHeard: map[lock.Incarnation]time.Time{}, openExpiries: map[lock.Incarnation]chan struct{}{}, records: map[lock.Incarnation]takeoverRecord{},
		dueWalks: map[lock.Incarnation]struct{}{}, contestedSince: map[contestedGrant]time.Time{},
	}
}

// noteRenewal notes a renewal that arrived then, unless an expiry is under way: then its outcome decides the answer.
func (d *failureDetector) noteRenewal(ctx context.Context, inc lock.Incarnation, arrived time.Time) error {
	for {
		d.mu.Lock()
		if by := d.successors[inc]; by != 0 {
			d.mu.Unlock()
			return fmt.Errorf("%w: its process registered anew, as incarnation %d, and this one is about to end", ErrUnconfirmed, by)
		}
		underWay := d.openExpiries[inc]
		if underWay == nil {
			if _, known := d.lastHeard[inc]; !known {
				d.stale = true // it is new
			}
			if d.lastHeard[inc].Before(arrived) {
				d.lastHeard[inc] = arrived
			}
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		select {
		case <-underWay:
		case <-ctx.Done():
			return fmt.Errorf("%w: a verdict is under way: %w", ErrUnconfirmed, ctx.Err())
		case <-d.leader.ctx.Done():
			return d.leader.node.notLeaderError()
		}
	}
}

func (d *failureDetector) silenceOf(inc lock.Incarnation) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	heard, ok := d.lastHeard[inc]
	return max(0, time.Since(heard)), ok
}

// onEvents is told of game servers that have ended, from apply: it must not block.
func (d *failureDetector) onEvents(events []fsm.Event) {
	d.mu.Lock()
	for _, e := range events {
		if e.Kind == fsm.ServerEnded {
			d.dueWalks[e.Server] = struct{}{}
			d.stale = true
		}
	}
	d.mu.Unlock()
	d.wakeUp()
}

func (d *failureDetector) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// runUntilEnd looks at each tick.
func (d *failureDetector) runUntilEnd() {
	tick := time.NewTicker(d.settings.TickPeriod)
	defer tick.Stop()
	d.nextTick = time.Now()
	for {
		if err := d.checkOnTick(time.Now()); err != nil && d.leader.ctx.Err() == nil {
			d.leader.node.log.Error("judge cannot read the tables", "error", err)
		}
		select {
		case <-d.leader.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkOnTick is one tick. Time by which it came late is given to all game servers: a failure detector that was held up has
// unread renewals.
func (d *failureDetector) checkOnTick(now time.Time) error {
	d.mu.Lock()
	stale := d.stale || now.Sub(d.readAt) >= livingReadPeriod
	d.stale = false // before the view is opened: an incarnation that begins or ends after that makes it stale again
	d.mu.Unlock()
	view, err := d.leader.node.tables.openView()
	if err != nil {
		return err
	}
	defer view.Close()
	if stale {
		if err := d.readLiving(view); err != nil {
			return err
		}
		d.readAt = now
	}
	contested, err := view.Contested(0, maxContested)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.excuseLateTick(now)
	d.checkSilence(now, view)
	d.leader.observers.pingDueStreams(now, d.livingTimings, d.successors)
	d.checkContested(now, contested)
	d.mu.Unlock()
	d.wakeUp()
	return nil
}

func (d *failureDetector) readLiving(view *View) error {
	servers, err := view.Servers()
	if err != nil {
		return err // rows that were read before still count
	}
	living := make(map[lock.Incarnation]lock.Timing, len(d.livingTimings))
	replaced := map[lock.Incarnation]lock.Incarnation{}
	for _, s := range servers {
		if s.Alive {
			living[s.Incarnation] = s.Class.Timing
			if s.Successor != 0 {
				replaced[s.Incarnation] = s.Successor
			}
		}
	}
	d.livingTimings = living
	d.mu.Lock()
	d.successors = replaced
	d.mu.Unlock()
	return nil
}

// excuseLateTick moves all times of hearing by the lateness of this tick, and by all that has passed since the last one while
// this leader is too slow to confirm renewals: a game server without an answer was not silent. mu must be held.
func (d *failureDetector) excuseLateTick(now time.Time) {
	late := now.Sub(d.nextTick)
	d.nextTick = now.Add(d.settings.TickPeriod)
	if d.leader.checkPrompt() != nil {
		late += d.settings.TickPeriod
	}
	if late <= d.settings.TickPeriod/10 {
		return
	}
	later := func(t time.Time) time.Time {
		if t = t.Add(late); t.After(now) {
			return now
		}
		return t
	}
	for inc, t := range d.lastHeard {
		d.lastHeard[inc] = later(t)
	}
	for key, t := range d.contestedSince {
		d.contestedSince[key] = later(t)
	}
}

// checkSilence finds the living game servers that are gone. The silence of one that is new, to the cluster or to this lead,
// counts from now. mu must be held.
func (d *failureDetector) checkSilence(now time.Time, view *View) {
	for inc, timing := range d.livingTimings {
		heard, known := d.lastHeard[inc]
		if !known {
			d.lastHeard[inc] = now
			continue
		}
		if heard.Before(d.leader.openedAt) {
			heard = d.leader.openedAt
		}
		d.openExpiry(now, view, inc, timing, now.Sub(heard))
	}
	maps.DeleteFunc(d.lastHeard, func(inc lock.Incarnation, heard time.Time) bool {
		_, alive := d.livingTimings[inc]
		return !alive && now.Sub(heard) > keepUnlistedHeard
	})
}

// openExpiry finds whether a living incarnation is gone, unless that is being found out already. mu must be held.
func (d *failureDetector) openExpiry(now time.Time, view *View, inc lock.Incarnation, timing lock.Timing, silent time.Duration) {
	if d.openExpiries[inc] != nil {
		return
	}
	signals := d.leader.observers.signalsOf(inc, now, d.successors[inc])
	signals.Silent = silent
	signals.GossipDead = d.leader.node.seemsDead(inc)
	ground := d.settings.FindGround(timing, signals)
	if ground == lock.Living {
		return
	}
	// The command that the expiry names must be its last one by now.
	s, ok, err := view.Server(inc)
	if err != nil || !ok || !s.Alive {
		return // the next look says why, or knows
	}
	d.openExpiries[s.Incarnation] = make(chan struct{})
	d.records[s.Incarnation] = takeoverRecord{
		incarnation: inc, lastCommand: s.Last, name: s.Name, address: s.Where, sessions: s.Sessions, ground: ground, signals: signals, lastHeard: d.lastHeard[inc],
	}
	d.dueExpiries = append(d.dueExpiries, &fsm.Verdict{Incarnation: uint64(s.Incarnation), Last: uint64(s.Last), Ground: uint32(ground)})
}

// addProof judges one incarnation at once, between two ticks, on proof alone: of silence only ticks may speak, since they
// know by how much they are late.
func (d *failureDetector) addProof(inc lock.Incarnation) {
	now := time.Now()
	if !d.settings.ShowsProcessGone(d.leader.observers.signalsOf(inc, now, 0)) {
		return
	}
	view, err := d.leader.node.tables.openView()
	if err != nil {
		return // this node ends, or the next look says why
	}
	defer view.Close()
	d.mu.Lock()
	if _, known := d.lastHeard[inc]; !known {
		d.lastHeard[inc] = now
		d.stale = true
	}
	d.openExpiry(now, view, inc, lock.DefaultTiming(), 0) // whatever its class: without silence only proof is found
	d.mu.Unlock()
	d.wakeUp()
}

// checkContested finds owners that were asked to let go for too long, revoked ones that have been silent for long enough, and
// gone ones with profiles that have waiters. mu must be held.
func (d *failureDetector) checkContested(now time.Time, contested []fsm.OwnedGrant) {
	current := make(map[contestedGrant]bool, len(contested))
	for _, g := range contested {
		timing, alive := d.livingTimings[g.Owner]
		if !alive {
			if g.Owner != 0 {
				d.dueWalks[g.Owner] = struct{}{}
			}
			continue
		}
		key := contestedGrantOf(g)
		current[key] = true
		first, known := d.contestedSince[key]
		if !known {
			d.contestedSince[key] = now
			continue
		}
		switch passed := now.Sub(first); {
		case g.Revoked && timing.LapseIsDue(passed):
			d.dueCommands = append(d.dueCommands, fsm.NewCommand(nil, &fsm.Lapse{Term: d.leader.term, Store: g.Store, Key: g.Key, Token: uint64(g.Token)}))
		case !g.Revoked && passed >= timing.HandOff:
			d.dueCommands = append(d.dueCommands, fsm.NewCommand(nil, &fsm.Revoke{Store: g.Store, Key: g.Key, Token: uint64(g.Token), Waited: true}))
		default:
			continue
		}
		d.contestedSince[key] = now // and again, should this one not get through
	}
	maps.DeleteFunc(d.contestedSince, func(key contestedGrant, _ time.Time) bool { return !current[key] })
}

// due work of the judge, taken out of it.
type dueWork struct {
	expiries []*fsm.Verdict
	commands []*fsm.Command
	walks    []lock.Incarnation
}

func (d *failureDetector) takeDueWork() dueWork {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := dueWork{expiries: d.dueExpiries, commands: d.dueCommands, walks: slices.Sorted(maps.Keys(d.dueWalks))}
	d.dueExpiries, d.dueCommands = nil, nil
	clear(d.dueWalks)
	return s
}
