package liveness

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	// livingReadPeriod is how often the rows of all living game servers are read. With thousands of them this is most of the cost
	// of a tick.
	livingReadPeriod = time.Second

	// keepUnlistedHeard is how long the time of a renewal is kept for an incarnation that was not among the rows last read.
	keepUnlistedHeard = 10 * time.Second
)

// Detector finds, for one leadership, the game servers that are gone, and lets their profiles be taken over. It uses only
// observations of this leader, since times that a former leader measured cannot be compared with its own.
//
// From the end of a game server to the takeover of its profiles:
//
//   - At each tick, checkOnTick asks for every living incarnation whether there is a ground to expire it. The signals are
//     its silence, its stream, its ping port and gossip; lock.Detector.FindGround decides. Proof, which needs no silence,
//     is also looked for after each ping that follows the end of a stream (addProof).
//   - openExpiry makes an expiry. It names the incarnation's last applied command and this leader's term. The tables refuse
//     it if a later command of the incarnation has been applied or the term has changed, since the decision is then out of
//     date. From here until the outcome is known, renewals of the incarnation wait (openExpiries): a renewed game server
//     believes that it owns its profiles, and a renewal during the expiry could be answered after it was applied.
//   - carryOutExpiries proposes the expiry, and waits for no other work of the detector. An expiry that waited, and whose
//     game server was heard meanwhile, is dropped. If it is refused, the waiting renewals are answered, and the game server keeps its
//     sessions. If it is applied, all grants of the incarnation end with that one entry, however many there are. If the
//     outcome is unknown, the next leader may still apply it, so this leader answers no renewal of the incarnation any
//     more.
//   - After an applied expiry, grantToWaiters grants the profiles that have waiters to their first waiters, in steps. All
//     other profiles are granted when a game server next asks for them.
//
// Silence counts from the last renewal, but at the earliest from this leader's opening command, and it does not count while
// the detector itself was late or this leader confirmed no renewals (excuseLateTick).
type Detector struct {
	ctx        context.Context // ends with the leadership
	leadership Leadership
	config     Config
	observers  *streamObservers
	// Each has a capacity of 1, and a token while carryOutExpiries, carryOutGrants or carryOutCommands has work.
	expiriesDue, grantsDue, commandsDue chan struct{}
	suspicionDue                        chan struct{} // the same for examineSuspicions

	mu             sync.Mutex
	lastHeard      map[lock.Incarnation]time.Time       // last renewal of each living incarnation, moved forward by late ticks
	openExpiries   map[lock.Incarnation]*openExpiry     // by incarnation, the expiry under way
	dueExpiries    []*fsm.Expiry                        // expiries to be proposed
	records        map[lock.Incarnation]takeoverRecord  // facts for the takeover log about the expiries to be proposed
	expired        map[lock.Incarnation]*takeoverRecord // gone owners that an expiry of this leader has ended
	goneOwners     map[lock.Incarnation]struct{}        // gone incarnations that may own profiles with waiters
	contestedSince map[contestedGrant]time.Time         // since when each contested grant is
	unagedHandOffs map[contestedGrant]struct{}          // hand-offs of an earlier leader, until a majority's clocks are known
	dueCommands    []*fsm.Command                       // Revoke and Lapse commands to be proposed

	nextTick time.Time // when the next tick is due; used by ticks only

	// livingTimings holds the incarnations that were alive when the rows were last read, each with the timing of the class
	// with which it registered. An incarnation that has registered since is missing; its silence counts from the next reading
	// or from its first renewal. Used by ticks only.
	livingTimings map[lock.Incarnation]lock.Timing
	readAt        time.Time // when the rows were last read; used by ticks only
	stale         bool      // an incarnation has begun or ended since the last reading; guarded by mu

	// successors maps a living incarnation to the one with which its process has registered again. The process has said then
	// that it no longer uses the sessions of the old incarnation. Guarded by mu.
	successors map[lock.Incarnation]lock.Incarnation

	suspicion selfSuspicion // guarded by mu

	silent atomic.Int64 // see CountSilent
}

// openExpiry is an expiry under way.
type openExpiry struct {
	decided   chan struct{} // closed with a known outcome
	bySilence bool          // silence is the ground, or a part of it
	heard     bool          // a renewal has arrived since the decision, and waits
	unclear   bool          // the outcome is unknown, and stays so for this leader
}

// New returns the failure detector of one leadership. ctx must end with the leadership.
func New(ctx context.Context, leadership Leadership, c Config) *Detector {
	d := &Detector{
		ctx: ctx, leadership: leadership, config: c,
		expiriesDue: make(chan struct{}, 1), grantsDue: make(chan struct{}, 1), commandsDue: make(chan struct{}, 1),
		suspicionDue: make(chan struct{}, 1),
		lastHeard:    map[lock.Incarnation]time.Time{}, openExpiries: map[lock.Incarnation]*openExpiry{},
		records: map[lock.Incarnation]takeoverRecord{}, expired: map[lock.Incarnation]*takeoverRecord{}, goneOwners: map[lock.Incarnation]struct{}{},
		contestedSince: map[contestedGrant]time.Time{}, unagedHandOffs: map[contestedGrant]struct{}{},
	}
	d.observers = newStreamObservers(ctx, leadership, c, d.addProof)
	return d
}

// Run works until the leadership ends.
func (d *Detector) Run() {
	var running sync.WaitGroup
	running.Go(d.observers.runUntilEnd)
	running.Go(d.runTicks)
	running.Go(d.carryOutExpiries)
	running.Go(d.carryOutGrants)
	running.Go(d.carryOutCommands)
	running.Go(d.examineSuspicions)
	running.Wait()
}

// AddStream records an open stream of a game server, which must be alive according to the tables of a confirmed leader. The
// caller may repeat the call.
func (d *Detector) AddStream(s *Stream) { d.observers.addStream(s) }

// NoteStreamEnd records that a stream has ended. byPeer says that FIN or RST came from the peer on its connection; any
// other end proves nothing about the process.
func (d *Detector) NoteStreamEnd(s *Stream, byPeer bool) { d.observers.noteStreamEnd(s, byPeer) }

// NoteRequest records that a request of an incarnation has arrived.
func (d *Detector) NoteRequest(inc lock.Incarnation) { d.observers.noteRequest(inc) }

// NoteRenewal records a renewal of inc that arrived at the given time. While an expiry of inc is under way it waits for
// the outcome first, so that no renewal is answered while its incarnation is being expired. The caller must look up in
// the tables afterwards whether inc is alive.
//
// It returns an error, and the renewal must not be confirmed, if the process of inc has registered again, if ctx ends
// during the wait, or if the leadership does (ErrLeadershipOver).
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
		underWay.heard = true
		d.mu.Unlock()
		select {
		case <-underWay.decided:
		case <-ctx.Done():
			return fmt.Errorf("an expiry is under way: %w", ctx.Err())
		case <-d.ctx.Done():
			return ErrLeadershipOver
		}
	}
}

// SilenceOf returns the time since this leader last heard inc. ok is false if it has not heard inc, or if inc has ended.
func (d *Detector) SilenceOf(inc lock.Incarnation) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	heard, ok := d.lastHeard[inc]
	return max(0, time.Since(heard)), ok
}

// CountSilent returns how many living game servers had been silent for longer than their doubt at the last tick: their sessions are
// in doubt.
func (d *Detector) CountSilent() int { return int(d.silent.Load()) }

// NoteEvents records, from the events of applied entries, the game servers that have ended, and the owners that are asked to
// let go, the time of which counts from here. It is called during an apply and does not block.
func (d *Detector) NoteEvents(events []fsm.Event) {
	now := time.Now()
	d.mu.Lock()
	for _, e := range events {
		switch e.Kind {
		case fsm.ServerEnded:
			if e.Contested { // else no entry is needed: an ended command-line call costs two, and not three
				d.goneOwners[e.Server] = struct{}{}
			}
			d.stale = true
		case fsm.LetGo:
			key := contestedGrant{store: e.Store, key: e.Key, token: e.Token, wantedMS: e.WantedMS}
			if _, known := d.contestedSince[key]; !known { // else a further game server waits
				d.contestedSince[key] = now
			}
		}
	}
	d.mu.Unlock()
	d.observers.onGone(events)
	d.wakeUp()
}

func (d *Detector) wakeUp() {
	for _, due := range []chan struct{}{d.expiriesDue, d.grantsDue, d.commandsDue} {
		select {
		case due <- struct{}{}:
		default:
		}
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

// checkOnTick runs the checks of one tick. The time by which the tick is late does not count as silence: if this process
// was held up, renewals may have arrived that it has not read yet.
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

// readLiving reads the living incarnations and their successors from the tables.
func (d *Detector) readLiving(view View) error {
	servers, err := view.Living()
	if err != nil {
		return err // the rows of the last reading still count
	}
	living := make(map[lock.Incarnation]lock.Timing, len(d.livingTimings))
	replaced := map[lock.Incarnation]lock.Incarnation{}
	for _, s := range servers {
		living[s.Incarnation] = s.Class.Timing
		if s.Successor != 0 {
			replaced[s.Incarnation] = s.Successor
		}
	}
	d.livingTimings = living
	d.mu.Lock()
	d.successors = replaced
	d.mu.Unlock()
	return nil
}

// excuseLateTick moves the times from which silence and contests count forward by the lateness of this tick, and by a
// whole tick while this leader is too slow to confirm renewals: a game server that got no answers was not silent. mu must
// be held.
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

// checkSilence looks for a ground to expire each living incarnation. The silence of an incarnation that is new to this
// leader counts from now. mu must be held.
func (d *Detector) checkSilence(now time.Time, view View) {
	silent := int64(0)
	for inc, timing := range d.livingTimings {
		heard, known := d.lastHeard[inc]
		if !known {
			d.lastHeard[inc] = now
			continue
		}
		if heard.Before(d.leadership.OpenedAt()) {
			heard = d.leadership.OpenedAt()
		}
		if now.Sub(heard) > timing.Doubt {
			silent++
		}
		d.openExpiry(now, view, inc, timing, now.Sub(heard))
	}
	d.silent.Store(silent)
	maps.DeleteFunc(d.lastHeard, func(inc lock.Incarnation, heard time.Time) bool {
		_, alive := d.livingTimings[inc]
		return !alive && now.Sub(heard) > keepUnlistedHeard
	})
}

// openExpiry decides whether a living incarnation, silent for the given time, is gone, and if so queues its expiry. It does
// nothing while an expiry of that incarnation is under way. mu must be held.
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
	if needsSilence(ground) && d.holdsForSuspicion(now, view, timing.Lease) {
		return
	}
	// The expiry names the incarnation's last applied command as of this moment. It is refused if a later one has been applied
	// before it.
	s, ok, err := view.Server(inc)
	if err != nil || !ok || !s.Alive {
		return // the next tick logs the error, or finds that it has ended
	}
	d.openExpiries[s.Incarnation] = &openExpiry{decided: make(chan struct{}), bySilence: needsSilence(ground)}
	d.records[s.Incarnation] = takeoverRecord{
		incarnation: inc, lastCommand: s.Last, name: s.Name, address: s.Where, sessions: s.Sessions,
		ground: ground, signals: signals, lastHeard: d.lastHeard[inc],
	}
	expiry := &fsm.Expiry{Incarnation: uint64(s.Incarnation), Last: uint64(s.Last), Ground: uint32(ground)}
	d.dueExpiries = append(d.dueExpiries, expiry)
}

// addProof opens the expiry of an incarnation at once if there is a proof that it is gone. It leaves silence and evidence
// to the ticks, which know by how much they are late.
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
	d.openExpiry(now, view, inc, lock.DefaultTiming(), 0) // with a silence of 0 only proof is a ground, whatever the timing
	d.mu.Unlock()
	d.wakeUp()
}
