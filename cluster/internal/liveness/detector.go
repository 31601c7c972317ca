package liveness

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

// MaxContested is how many contested grants one tick reads.
const MaxContested = 10_000

const (
	livingReadPeriod  = time.Second      // how often all game servers' rows are read: with thousands they are most of a tick's cost
	keepUnlistedHeard = 10 * time.Second // how long a renewal of an incarnation is remembered that the last reading did not find
)

// Detector finds, for one leadership, the game servers that are gone. It uses only what this leader itself has
// heard, since times that a former leader measured cannot be compared with its own.
type Detector struct {
	ctx        context.Context // ends with the leadership
	leadership Leadership
	config     Config
	observers  *streamObservers
	wake       chan struct{} // has a token while carryOut has work

	mu             sync.Mutex
	lastHeard      map[lock.Incarnation]time.Time      // last renewal of each living incarnation
	openExpiries   map[lock.Incarnation]chan struct{}  // incarnations with an expiry under way; closed with its outcome
	dueExpiries    []*fsm.Expiry                       // to be proposed
	records        map[lock.Incarnation]takeoverRecord // of the incarnations with an expiry under way, for the takeover log
	goneOwners     map[lock.Incarnation]struct{}       // gone incarnations with profiles that have waiters
	contestedSince map[contestedGrant]time.Time        // when this leader first saw each contested grant
	dueCommands    []*fsm.Command                      // Revoke and Lapse commands, to be proposed

	nextTick time.Time

	// The incarnations that were alive when the rows were last read, each with the timing of the class that it registered
	// with. An incarnation that is missing registered later; it counts from the next reading or from its first renewal.
	livingTimings map[lock.Incarnation]lock.Timing // the timing that each was told at its registration
	readAt        time.Time
	stale         bool // an incarnation has begun or ended since the last reading; guarded by mu

	// successors maps a living incarnation to the one with which its process registered again. That process has said that
	// it uses the sessions of the old incarnation no more. Guarded by mu.
	successors map[lock.Incarnation]lock.Incarnation
}

// contestedGrant is a grant that has waiters, or that is revoked and not acknowledged.
type contestedGrant struct {
	store, key string
	token      lock.Token
	revoked    bool
}

func contestedGrantOf(g fsm.OwnedGrant) contestedGrant {
	return contestedGrant{store: g.Store, key: g.Key, token: g.Token, revoked: g.Revoked}
}

// New returns the failure detector of one leadership, whose context is ctx.
func New(ctx context.Context, leadership Leadership, c Config) *Detector {
	d := &Detector{
		ctx: ctx, leadership: leadership, config: c, wake: make(chan struct{}, 1),
		lastHeard: map[lock.Incarnation]time.Time{}, openExpiries: map[lock.Incarnation]chan struct{}{}, records: map[lock.Incarnation]takeoverRecord{},
		goneOwners: map[lock.Incarnation]struct{}{}, contestedSince: map[contestedGrant]time.Time{},
	}
	d.observers = newStreamObservers(ctx, leadership, c, d.addProof)
	return d
}

// Run works until the leadership ends.
func (d *Detector) Run() {
	var running sync.WaitGroup
	running.Go(d.observers.runUntilEnd)
	running.Go(d.runTicks)
	running.Go(d.carryOut)
	running.Wait()
}

// AddStream records an open stream of a game server that is alive by confirmed tables. The caller may repeat it.
func (d *Detector) AddStream(s *Stream) { d.observers.addStream(s) }

// NoteStreamEnd records that a stream has ended. byPeer says that FIN or RST came from the peer on its connection; any
// other end proves nothing about the process.
func (d *Detector) NoteStreamEnd(s *Stream, byPeer bool) { d.observers.noteStreamEnd(s, byPeer) }

// NoteRequest records that a request of an incarnation has arrived.
func (d *Detector) NoteRequest(inc lock.Incarnation) { d.observers.noteRequest(inc) }

// NoteRenewal records a renewal that arrived at the given time. While an expiry of inc is under way it waits for the
// outcome first, so that a renewal is never answered and its incarnation expired at the same time.
func (d *Detector) NoteRenewal(ctx context.Context, inc lock.Incarnation, arrived time.Time) error {
	for {
		d.mu.Lock()
		if by := d.successors[inc]; by != 0 {
			d.mu.Unlock()
			return fmt.Errorf("its process has registered again, as incarnation %d, and this one is about to end", by)
		}
		underWay := d.openExpiries[inc]
		if underWay == nil {
			if _, known := d.lastHeard[inc]; !known {
				d.stale = true // an incarnation that the last reading did not find
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
			return fmt.Errorf("an expiry is under way: %w", ctx.Err())
		case <-d.ctx.Done():
			return ErrLeadershipOver
		}
	}
}

// SilenceOf returns the time since this leader last heard inc. ok is false if inc is not alive.
func (d *Detector) SilenceOf(inc lock.Incarnation) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	heard, ok := d.lastHeard[inc]
	return max(0, time.Since(heard)), ok
}

// PendingSince returns how long this leader has been waiting for the owner of a contested grant. ok is false if no tick
// has seen the contest yet.
func (d *Detector) PendingSince(g fsm.OwnedGrant) (pending time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, ok := d.contestedSince[contestedGrantOf(g)]
	return max(0, time.Since(first)), ok
}

// NoteEvents learns from the events of the log which game servers have ended. It is called from apply and must not block.
func (d *Detector) NoteEvents(events []fsm.Event) {
	d.mu.Lock()
	for _, e := range events {
		if e.Kind == fsm.ServerEnded {
			d.goneOwners[e.Server] = struct{}{}
			d.stale = true
		}
	}
	d.mu.Unlock()
	d.observers.onGone(events)
	d.wakeUp()
}

func (d *Detector) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// runTicks runs a check at each tick until the leadership ends.
func (d *Detector) runTicks() {
	tick := time.NewTicker(d.config.Settings.TickPeriod)
	defer tick.Stop()
	d.nextTick = time.Now()
	for {
		if err := d.checkOnTick(time.Now()); err != nil && d.ctx.Err() == nil {
			d.config.Log.Error("failure detector cannot read the tables", "error", err)
		}
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkOnTick runs the checks of one tick. A late tick counts against no game server: a detector that was held up has
// renewals that it has not read yet.
func (d *Detector) checkOnTick(now time.Time) error {
	d.mu.Lock()
	stale := d.stale || now.Sub(d.readAt) >= livingReadPeriod
	d.stale = false // before the view is opened, so that a later change sets it again
	d.mu.Unlock()
	view, err := d.leadership.OpenView()
	if err != nil {
		return err
	}
	defer func() { _ = view.Close() }()
	if stale {
		if err := d.readLiving(view); err != nil {
			return err
		}
		d.readAt = now
	}
	contested, err := view.Contested(0, MaxContested)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.excuseLateTick(now)
	d.checkSilence(now, view)
	d.observers.pingDueStreams(now, d.livingTimings, d.successors)
	d.checkContested(now, contested)
	d.mu.Unlock()
	d.wakeUp()
	return nil
}

func (d *Detector) readLiving(view View) error {
	servers, err := view.Servers()
	if err != nil {
		return err // the rows of the last reading still count
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

// excuseLateTick moves all times of hearing forward by the lateness of this tick, and by a whole tick while this leader
// is too slow to confirm renewals: a game server that got no answer was not silent. mu must be held.
func (d *Detector) excuseLateTick(now time.Time) {
	late := now.Sub(d.nextTick)
	d.nextTick = now.Add(d.config.Settings.TickPeriod)
	if d.leadership.CheckPrompt() != nil {
		late += d.config.Settings.TickPeriod
	}
	if late <= d.config.Settings.TickPeriod/10 {
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

// checkSilence checks every living incarnation. The silence of one that is new, to the cluster or to this leader, counts
// from now. mu must be held.
func (d *Detector) checkSilence(now time.Time, view View) {
	for inc, timing := range d.livingTimings {
		heard, known := d.lastHeard[inc]
		if !known {
			d.lastHeard[inc] = now
			continue
		}
		if heard.Before(d.leadership.OpenedAt()) {
			heard = d.leadership.OpenedAt()
		}
		d.openExpiry(now, view, inc, timing, now.Sub(heard))
	}
	maps.DeleteFunc(d.lastHeard, func(inc lock.Incarnation, heard time.Time) bool {
		_, alive := d.livingTimings[inc]
		return !alive && now.Sub(heard) > keepUnlistedHeard
	})
}

// openExpiry decides whether a living incarnation is gone, and if so queues its expiry. It does nothing while an expiry
// of that incarnation is under way. mu must be held.
func (d *Detector) openExpiry(now time.Time, view View, inc lock.Incarnation, timing lock.Timing, silent time.Duration) {
	if d.openExpiries[inc] != nil {
		return
	}
	signals := d.observers.signalsOf(inc, now, d.successors[inc])
	signals.Silent = silent
	signals.GossipDead = d.leadership.SeemsDead(inc)
	ground := d.config.Settings.FindGround(timing, signals)
	if ground == lock.Living {
		return
	}
	// The expiry names the incarnation's last applied command, as of this moment: it is refused if a later one is
	// applied.
	s, ok, err := view.Server(inc)
	if err != nil || !ok || !s.Alive {
		return // the next tick logs the error, or finds that it has ended
	}
	d.openExpiries[s.Incarnation] = make(chan struct{})
	d.records[s.Incarnation] = takeoverRecord{
		incarnation: inc, lastCommand: s.Last, name: s.Name, address: s.Where, sessions: s.Sessions, ground: ground, signals: signals, lastHeard: d.lastHeard[inc],
	}
	d.dueExpiries = append(d.dueExpiries, &fsm.Expiry{Incarnation: uint64(s.Incarnation), Last: uint64(s.Last), Ground: uint32(ground)})
}

// addProof checks one incarnation between two ticks, on proof alone. Silence and evidence are left to ticks, since only a
// tick knows by how much it is late.
func (d *Detector) addProof(inc lock.Incarnation) {
	now := time.Now()
	if !d.config.Settings.ShowsProcessGone(d.observers.signalsOf(inc, now, 0)) {
		return
	}
	view, err := d.leadership.OpenView()
	if err != nil {
		return // this node stops, or the next tick logs the error
	}
	defer func() { _ = view.Close() }()
	d.mu.Lock()
	if _, known := d.lastHeard[inc]; !known {
		d.lastHeard[inc] = now
		d.stale = true
	}
	d.openExpiry(now, view, inc, lock.DefaultTiming(), 0) // the timing does not matter: with a silence of 0 only proof is a ground
	d.mu.Unlock()
	d.wakeUp()
}

// checkContested finds owners that were asked to let go for too long, owners of revoked grants that have not acknowledged
// in time, and gone owners with profiles that have waiters. mu must be held.
func (d *Detector) checkContested(now time.Time, contested []fsm.OwnedGrant) {
	current := make(map[contestedGrant]bool, len(contested))
	for _, g := range contested {
		timing, alive := d.livingTimings[g.Owner]
		if !alive {
			if g.Owner != 0 {
				d.goneOwners[g.Owner] = struct{}{}
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
			d.dueCommands = append(d.dueCommands, fsm.NewCommand(nil, &fsm.Lapse{Term: d.leadership.Term(), Store: g.Store, Key: g.Key, Token: uint64(g.Token)}))
		case !g.Revoked && passed >= timing.HandOff:
			d.dueCommands = append(d.dueCommands, fsm.NewCommand(nil, &fsm.Revoke{Store: g.Store, Key: g.Key, Token: uint64(g.Token), Waited: true}))
		default:
			continue
		}
		d.contestedSince[key] = now // so it is proposed again, should this command fail
	}
	maps.DeleteFunc(d.contestedSince, func(key contestedGrant, _ time.Time) bool { return !current[key] })
}

// dueWork is the work that takeDueWork takes out of the failure detector.
type dueWork struct {
	expiries   []*fsm.Expiry
	commands   []*fsm.Command
	goneOwners []lock.Incarnation
}

func (d *Detector) takeDueWork() dueWork {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := dueWork{expiries: d.dueExpiries, commands: d.dueCommands, goneOwners: slices.Sorted(maps.Keys(d.goneOwners))}
	d.dueExpiries, d.dueCommands = nil, nil
	clear(d.goneOwners)
	return s
}
