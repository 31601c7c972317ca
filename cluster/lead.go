package cluster

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
)

// openWait is how long a call waits for a lead whose opening command is on its way.
const openWait = time.Second

// lead is this node's lead in one term: from the moment its opening command was applied, until raft said that it lost.
// Everything that acts for a leader belongs to a lead and ends with its context.
type lead struct {
	node   *Node
	term   uint64 // of the opening command, as the log says it
	opened time.Time
	ctx    context.Context

	queue *queue
	proof *proof
	clock *clock
	judge *judge
	seen  *roll
	dates calendar
	tight atomic.Bool // the voters above their reserve of free space are no majority

	witnesses *witnesses
}

// leadership is whether this node leads. Raft's own State and CurrentTerm, read one after the other, may belong to
// different terms.
type leadership struct {
	mu      sync.Mutex
	now     *lead         // nil: not, or not yet
	gaining bool          // raft leads, the opening command is on its way
	changed chan struct{} // closed and replaced at each change
	cancel  context.CancelFunc
	over    bool // this node ends: it opens no more leads
	acting  sync.WaitGroup
}

// watchLead reads what raft tells, at once, since raft waits for it.
func (n *Node) watchLead(told <-chan bool) {
	for {
		select {
		case gained := <-told:
			n.turnLead(gained)
		case <-n.raftDown:
			n.turnLead(false)
			return
		}
	}
}

func (n *Node) turnLead(gained bool) {
	s := &n.leadership
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	gained = gained && !s.over
	if s.now != nil {
		n.log.Info("no longer leads", "term", s.now.term)
	}
	s.now, s.gaining = nil, gained
	close(s.changed)
	s.changed = make(chan struct{})
	if gained {
		ctx, cancel := context.WithCancel(n.ctx)
		s.cancel = cancel
		s.acting.Go(func() {
			defer cancel()
			n.runLead(ctx)
		})
	}
}

// runLead opens a lead and acts for it until it is over.
func (n *Node) runLead(ctx context.Context) {
	term, err := n.openTerm(ctx)
	if err != nil {
		n.log.Warn("lead was over before it began", "error", err)
		return
	}
	l := &lead{node: n, term: term, opened: time.Now(), ctx: ctx, seen: &roll{}}
	l.clock = newClock(n.ID(), n.config.Now)
	logMS := n.tables.standing().StampMS
	l.clock.floor(logMS)
	l.queue, l.proof, l.judge = newQueue(l), newProof(l), newJudge(l)
	l.witnesses = newWitnesses(l)
	var acting sync.WaitGroup
	defer acting.Wait()
	acting.Go(l.proof.run)
	// The first stamp that anybody's command gets shall be a majority's time.
	first, cancel := context.WithTimeout(ctx, openWait)
	_ = l.proof.prove(first) // without one the clock stands still for a round longer
	cancel()
	l.dates.begin(logMS, l.clock.stamp(), n.leaderless())
	acting.Go(l.queue.run)
	if !n.publish(l) {
		return
	}
	n.log.Info("leads", "term", term)
	acting.Go(l.witnesses.run)
	acting.Go(l.judge.run)
	acting.Go(l.judge.act)
	acting.Go(l.tend)
}

// leaderless is how long this node heard of no leader before it became one itself.
func (n *Node) leaderless() time.Duration {
	if heard := n.running().LastContact(); !heard.IsZero() {
		return time.Since(heard)
	}
	return time.Duration(math.MaxInt64) // never, since it started
}

// publish makes a lead known, unless it is over.
func (n *Node) publish(l *lead) bool {
	s := &n.leadership
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	s.now, s.gaining = l, false
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

// openTerm proposes this lead's first entry and returns its term once it is applied. The tables then hold everything
// that was ever acknowledged.
func (n *Node) openTerm(ctx context.Context) (uint64, error) {
	cluster := n.clusterID()
	standing := n.tables.standing()
	var commands []*fsm.Command
	if len(standing.Cluster) == 0 {
		classes := n.config.Classes
		if classes == nil {
			classes = fsm.DefaultClasses()
		}
		commands = append(commands, fsm.Do(nil, &fsm.Found{Cluster: cluster, Level: fsm.FirstLevel, Policies: fsm.DefaultPolicies(), Classes: classes}))
	}
	commands = append(commands, fsm.Do(nil, &fsm.OpenTerm{Node: n.ID()}))
	entry, err := fsm.Encode(max(standing.Level, fsm.FirstLevel), cluster, standing.StampMS, commands)
	if err != nil {
		return 0, fmt.Errorf("open term: %w", err)
	}
	for {
		f := n.running().Apply(entry, openWait)
		err := n.proposed(n.await(ctx, f))
		if refused(err) {
			select {
			case <-ctx.Done():
			case <-time.After(actPause):
				continue
			}
		}
		if err != nil {
			return 0, fmt.Errorf("open term: %w", err)
		}
		a, err := n.outcome(f)
		if err != nil {
			return 0, fmt.Errorf("open term: %w", err)
		}
		return a.term, nil
	}
}

// outcome is what became of an entry that was proposed here and is through. One that was skipped has been acknowledged
// by nobody's doing: then log and tables do not belong together.
func (n *Node) outcome(f raft.ApplyFuture) (applied, error) {
	a, ok := f.Response().(applied)
	if !ok || a.skipped {
		err := fmt.Errorf("%w: the entry at %d was proposed here, but the tables had passed it: log and tables do not belong together", ErrFailed, f.Index())
		n.stop(err)
		return applied{}, fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	return a, nil
}

// leads is the lead that is on now, or nil.
func (n *Node) leads() *lead {
	n.leadership.mu.Lock()
	defer n.leadership.mu.Unlock()
	return n.leadership.now
}

// lead is the lead that is on now; one that is about to open is waited for a little, and so is any leader while none is
// known.
func (n *Node) lead(ctx context.Context) (*lead, error) {
	limit := time.NewTimer(openWait)
	defer limit.Stop()
	for {
		select {
		case <-n.closing:
			return nil, ErrClosed
		default:
		}
		s := &n.leadership
		s.mu.Lock()
		now, gaining, changed := s.now, s.gaining, s.changed
		s.mu.Unlock()
		if now != nil {
			return now, nil
		}
		if !gaining {
			if !n.oriented() && n.orient(ctx, limit.C) {
				continue
			}
			return nil, n.notLeader()
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil, n.notLeader()
		case <-n.closing:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: this node is about to lead: %w", ErrBusy, ctx.Err())
		}
	}
}
