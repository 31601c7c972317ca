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

// leadershipWait is how long a call waits for a lead with its opening command on its way.
const leadershipWait = time.Second

// leaderState is this node's lead in one term: from the moment its opening command was applied, until raft said that it lost.
// Everything that acts for a leader belongs to a lead and ends with its context.
type leaderState struct {
	node     *Node
	term     uint64 // of the opening command, as the log says it
	openedAt time.Time
	ctx      context.Context

	queue      *proposeQueue
	confirmer  *leadershipConfirmer
	clock      *clock
	detector   *failureDetector
	hellos     *helloBook
	calendar   calendar
	spaceTight atomic.Bool // the voters above their reserve of free space are no majority

	observers *streamObservers
}

// leadershipTerm is whether this node leads. Raft's own State and CurrentTerm, read one after the other, may belong to
// different terms.
type leadershipTerm struct {
	mu         sync.Mutex
	current    *leaderState  // nil: not, or not yet
	opening    bool          // raft leads, the opening command is on its way
	changed    chan struct{} // closed and replaced at each change
	cancel     context.CancelFunc
	closed     bool // this node ends: it opens no more leads
	goroutines sync.WaitGroup
}

// watchLeadership reads raft's notices, at once, since raft waits for it.
func (n *Node) watchLeadership(told <-chan bool) {
	for {
		select {
		case gained := <-told:
			n.changeLeadership(gained)
		case <-n.raftDown:
			n.changeLeadership(false)
			return
		}
	}
}

func (n *Node) changeLeadership(gained bool) {
	s := &n.leadership
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	gained = gained && !s.closed
	if s.current != nil {
		n.log.Info("no longer leads", "term", s.current.term)
	}
	s.current, s.opening = nil, gained
	close(s.changed)
	s.changed = make(chan struct{})
	if gained {
		ctx, cancel := context.WithCancel(n.ctx)
		s.cancel = cancel
		s.goroutines.Go(func() {
			defer cancel()
			n.runLeadership(ctx)
		})
	}
}

// runLeadership opens a lead and acts for it until it is over.
func (n *Node) runLeadership(ctx context.Context) {
	term, err := n.openTerm(ctx)
	if err != nil {
		n.log.Warn("lead was over before it began", "error", err)
		return
	}
	l := &leaderState{node: n, term: term, openedAt: time.Now(), ctx: ctx, hellos: &helloBook{}}
	l.clock = newClock(n.ID(), n.config.Now)
	logMS := n.tables.positionNow().StampMS
	l.clock.raiseFloor(logMS)
	l.queue, l.confirmer, l.detector = newProposeQueue(l), newLeadershipConfirmer(l), newFailureDetector(l)
	l.observers = newStreamObservers(l)
	var acting sync.WaitGroup
	defer acting.Wait()
	acting.Go(l.confirmer.runRounds)
	// The first timestamp of any command shall be a majority's time.
	first, cancel := context.WithTimeout(ctx, leadershipWait)
	_ = l.confirmer.confirmNow(first) // without one the clock stands still for a round longer
	cancel()
	l.calendar.startCalendar(logMS, l.clock.nextTimestamp(), n.leaderlessFor())
	acting.Go(l.queue.runUntilEnd)
	if !n.publishLeaderState(l) {
		return
	}
	n.log.Info("leads", "term", term)
	acting.Go(l.observers.runUntilEnd)
	acting.Go(l.detector.runUntilEnd)
	acting.Go(l.detector.carryOut)
	acting.Go(l.tendMembers)
}

// leaderlessFor is how long this node heard of no leader before it became one itself.
func (n *Node) leaderlessFor() time.Duration {
	if heard := n.raftIfRunning().LastContact(); !heard.IsZero() {
		return time.Since(heard)
	}
	return time.Duration(math.MaxInt64) // never, since it started
}

// publishLeaderState makes a lead known, unless it is over.
func (n *Node) publishLeaderState(l *leaderState) bool {
	s := &n.leadership
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	s.current, s.opening = l, false
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

// openTerm proposes this lead's first entry and returns its term once it is applied. The tables then hold everything
// that was ever acknowledged.
func (n *Node) openTerm(ctx context.Context) (uint64, error) {
	cluster := n.clusterID()
	position := n.tables.positionNow()
	var commands []*fsm.Command
	if len(position.Cluster) == 0 {
		classes := n.config.Classes
		if classes == nil {
			classes = fsm.DefaultClasses()
		}
		commands = append(commands, fsm.NewCommand(nil, &fsm.Found{Cluster: cluster, Level: fsm.FirstLevel, Policies: fsm.DefaultPolicies(), Classes: classes}))
	}
	commands = append(commands, fsm.NewCommand(nil, &fsm.OpenTerm{Node: n.ID()}))
	entry, err := fsm.Encode(max(position.Level, fsm.FirstLevel), cluster, position.StampMS, commands)
	if err != nil {
		return 0, fmt.Errorf("open term: %w", err)
	}
	for {
		f := n.raftIfRunning().Apply(entry, leadershipWait)
		err := n.classifyProposeError(n.waitForFuture(ctx, f))
		if isRefusal(err) {
			select {
			case <-ctx.Done():
			case <-time.After(proposeRetryPause):
				continue
			}
		}
		if err != nil {
			return 0, fmt.Errorf("open term: %w", err)
		}
		a, err := n.readAppliedResult(f)
		if err != nil {
			return 0, fmt.Errorf("open term: %w", err)
		}
		return a.term, nil
	}
}

// readAppliedResult is the result of an entry that was proposed here and is applied. One that was skipped has been
// acknowledged without being applied: then log and tables do not belong together.
func (n *Node) readAppliedResult(f raft.ApplyFuture) (appliedResults, error) {
	a, ok := f.Response().(appliedResults)
	if !ok || a.skipped {
		err := fmt.Errorf("%w: the entry at %d was proposed here, but the tables had passed it: log and tables do not belong together", ErrFailed, f.Index())
		n.fail(err)
		return appliedResults{}, fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	return a, nil
}

// leaderStateNow is the lead that is on now, or nil.
func (n *Node) leaderStateNow() *leaderState {
	n.leadership.mu.Lock()
	defer n.leadership.mu.Unlock()
	return n.leadership.current
}

// awaitLeaderState is the lead that is on now; one that is about to open is waited for a little, and so is any leader while
// none is known.
func (n *Node) awaitLeaderState(ctx context.Context) (*leaderState, error) {
	limit := time.NewTimer(leadershipWait)
	defer limit.Stop()
	for {
		select {
		case <-n.closing:
			return nil, ErrClosed
		default:
		}
		s := &n.leadership
		s.mu.Lock()
		now, gaining, changed := s.current, s.opening, s.changed
		s.mu.Unlock()
		if now != nil {
			return now, nil
		}
		if !gaining {
			if !n.knowsLeader() && n.waitToKnowLeader(ctx, limit.C) {
				continue
			}
			return nil, n.notLeaderError()
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil, n.notLeaderError()
		case <-n.closing:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: this node is about to lead: %w", ErrBusy, ctx.Err())
		}
	}
}

// handOverLeadership lets proposals finish, then gives the lead to another voter. Both are optional, and bounded.
func (n *Node) handOverLeadership() {
	l := n.leaderStateNow()
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, drainLimit)
	defer cancel()
	for !l.queue.isIdle() {
		select {
		case <-ctx.Done():
			return
		case <-n.closeNow:
			return
		case <-time.After(drainPeriod):
		}
	}
	if len(configuredPeers(n.raftIfRunning())) > 1 {
		hand, cancel := context.WithTimeout(n.ctx, drainLimit) // the lead's own ends on the way
		defer cancel()
		if err := n.transferLeadership(hand); err != nil {
			n.log.Debug("hand the lead over", "error", err)
		}
	}
}

// Transfer hands the lead to another voter and returns once this node does not lead any more.
func (n *Node) Transfer(ctx context.Context) error {
	if _, err := n.awaitLeaderState(ctx); err != nil {
		return err
	}
	return n.transferLeadership(ctx)
}

func (n *Node) transferLeadership(ctx context.Context) error {
	answer := make(chan error, 1)
	n.goFuture(func() { answer <- n.raftIfRunning().LeadershipTransfer().Error() })
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("hand the lead over: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("hand the lead over: %w", ctx.Err())
	case <-n.closeNow:
		return ErrClosed
	}
	for {
		n.leadership.mu.Lock()
		over, changed := n.leadership.current == nil, n.leadership.changed
		n.leadership.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("hand the lead over: %w", ctx.Err())
		case <-n.closeNow:
			return ErrClosed
		}
	}
}
