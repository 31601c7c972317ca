package sim

import (
	"context"
	"errors"
	"time"

	"github.com/profilenode/profilenode/cluster"
)

// over is a context that has ended: with it a wait is only a look.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// sampled is the time from one look of the observer to the next.
const sampled = 10 * time.Millisecond

// observer compares, every 10 ms, the state of the sessions with the tables of every node, and the nodes' tables with
// each other. A fact in one node's tables is in the log, so the tables that have applied the most are the known truth.
type observer struct {
	world *World
	quit  chan struct{}
	over  chan struct{}

	seen    map[*cluster.Node]uint64 // index of the tables at the last look
	digests map[uint64]uint64        // by index
	truth   map[string]grantedState  // by profile
	crashed time.Duration            // when a node was last seen to have stopped
	runs    map[*node]*cluster.Node  // at the last look
}

// grantedState is a profile's grant.
type grantedState struct {
	index   uint64 // of the tables that say so
	loads   uint64
	token   uint64
	owner   uint64
	name    string        // of its last owner: a reclaiming game server has another incarnation, and the same name
	inForce bool          // its owner lives
	asked   bool          // a game server waits for it, or it is revoked
	freed   time.Duration // when it was last seen to be asked for, and then no more; 0: never
}

func startObserver(w *World) *observer {
	o := &observer{
		world: w, quit: make(chan struct{}), over: make(chan struct{}),
		seen: map[*cluster.Node]uint64{}, digests: map[uint64]uint64{}, truth: map[string]grantedState{}, runs: map[*node]*cluster.Node{},
	}
	go func() {
		defer close(o.over)
		tick := time.NewTicker(sampled)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				o.observeOnce()
			case <-o.quit:
				return
			}
		}
	}()
	return o
}

func (o *observer) stopObserving() {
	close(o.quit)
	<-o.over
}

func (o *observer) observeOnce() {
	for _, n := range o.world.nodes {
		r := n.runningNode()
		if r != nil && o.readGrants(n.name, r) != nil {
			r = nil // it closes just now
		}
		if before := o.runs[n]; before != nil && before != r {
			o.crashed = o.world.Now()
		}
		o.runs[n] = r
	}
	o.world.mu.Lock()
	processes := o.world.processes
	o.world.mu.Unlock()
	for _, s := range processes {
		if !s.isAlive() {
			continue
		}
		for _, session := range s.openSessions() {
			o.checkSession(s, session)
		}
	}
}

// readGrants adds the new grants in a node's tables to the known truth.
func (o *observer) readGrants(name string, n *cluster.Node) error {
	if errors.Is(n.WaitApplied(over, o.seen[n]), context.Canceled) {
		o.world.Complain("", "the tables of %s went back from entry %d", name, o.seen[n])
	}
	if errors.Is(n.WaitApplied(over, o.seen[n]+1), context.Canceled) {
		return nil
	}
	view, err := n.View()
	if err != nil {
		return err
	}
	defer view.Close()
	standing := view.Position()
	o.seen[n] = standing.Index
	if other, known := o.digests[standing.Index]; known && other != standing.Digest {
		o.world.Complain("", "%s has digest %x at entry %d, another node had %x", name, standing.Digest, standing.Index, other)
	}
	o.digests[standing.Index] = standing.Digest
	for _, key := range o.world.profiles {
		if o.truth[key].index >= standing.Index {
			continue
		}
		row, err := view.Grant(store, key)
		if err != nil {
			return err
		}
		now := grantedState{index: standing.Index, loads: row.Loads, token: uint64(row.Token), owner: uint64(row.Owner), asked: row.Revoked || len(row.Waiters) > 0, freed: o.truth[key].freed}
		if o.truth[key].asked && !now.asked {
			now.freed = o.world.Now()
		}
		if row.Owner != 0 {
			owner, ok, err := view.Server(row.Owner)
			if err != nil {
				return err
			}
			now.inForce, now.name = ok && owner.Alive, owner.Name
		} else if before := o.truth[key]; now.loads == before.loads {
			now.name = before.name
		}
		before := o.truth[key]
		// Between two looks a grant without an owner may have been reclaimed, and released.
		reclaimed := now.loads == before.loads && now.token > before.token && (now.owner != before.owner || now.owner == 0) && now.name == before.name
		if now.loads < before.loads || now.token < before.token || now.loads == before.loads && now.token != before.token && !reclaimed {
			o.world.Complain(key, "at entry %d it has had %d grants, the last under token %d, and had %d, the last under %d, at entry %d",
				now.index, now.loads, now.token, before.loads, before.token, before.index)
		}
		if before.inForce && now.inForce && before.owner != now.owner && now.loads == before.loads && !reclaimed {
			o.world.Complain(key, "%d owns it at entry %d, and %d at entry %d, by the same grant", now.owner, now.index, before.owner, before.index)
		}
		o.truth[key] = now
	}
	return nil
}

// checkSession looks at a session after the tables, so that an active session was in force by then or should not be active.
func (o *observer) checkSession(s *Server, session *Session) {
	w, record := o.world, session.record
	is := o.truth[record.Profile]
	if session.IsActive() {
		session.active = w.Now()
		switch {
		case !s.isAlive(): // it was stopped meanwhile
		case is.loads > record.Loads:
			w.Complain(record.Profile, "%s is active under grant %d, and grant %d was made", record.Writer, record.Loads, is.loads)
		case is.loads == record.Loads && is.owner != 0 && !is.inForce:
			w.Complain(record.Profile, "%s is active, and its incarnation has ended", record.Writer)
		}
		return
	}
	if session.ended || !session.lostByMistake() {
		return
	}
	session.ended = true
	// Over, and the log knows no reason: then it was in doubt for as long as the game allows. Its limit counts from the last
	// proof, at which it was active for another while; its clock may run fast.
	// Who was asked to let go, and could not save, lets go by the end of its hand-off, even if nobody asks by then.
	asked := is.asked || is.freed > 0 && w.Now()-is.freed < w.Timing.HandOff+5*time.Second
	held := is.loads == record.Loads && is.owner != 0 && is.inForce && !asked
	limit := (max(w.scenario.DoubtLimit, w.Timing.Doubt) - w.Timing.Doubt) * 5 / 6
	if doubt := w.Now() - session.active; held && doubt < limit-2*sampled && w.Now()-o.crashed > 5*time.Second {
		w.Complain(record.Profile, "%s was thrown out after %v without being active, the limit for doubt is %v, and it owns the profile: %v",
			record.Writer, doubt, limit, session.Err())
	}
}
