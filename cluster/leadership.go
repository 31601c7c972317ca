package cluster

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/liveness"
	"github.com/profilenode/profilenode/fsm"
)

// leadershipWait is how long a call waits for a leadership whose opening command is not applied yet.
const leadershipWait = time.Second

// leaderState is this node's leadership in one term: from the moment its opening command was applied until raft reports
// its loss. All goroutines that act as the leader belong to one leaderState and end with its context, so none of them
// acts in a later term.
type leaderState struct {
	node     *Node
	term     uint64 // the term of the opening command's entry
	openedAt time.Time
	ctx      context.Context

	queue      *proposeQueue
	confirmer  *leadershipConfirmer
	clock      *clock
	detector   *liveness.Detector
	calendar   calendar
	spaceTight atomic.Bool // fewer than a majority of the voters have their reserve of disk space
}

// leadershipTerm records whether this node leads. Raft's State and CurrentTerm cannot answer that: read one after the
// other, they may belong to different terms.
type leadershipTerm struct {
	mu         sync.Mutex
	current    *leaderState  // nil: not, or not yet
	opening    bool          // raft leads, the opening command is on its way
	changed    chan struct{} // closed and replaced at each change
	cancel     context.CancelFunc
	closed     bool // this node ends: it opens no more leads
	goroutines sync.WaitGroup
}

// watchLeadership reads raft's notices of gained and lost leadership. It must read at once: raft's main loop blocks on
// the unbuffered channel.
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
		n.log.Info("this node no longer leads", "term", s.current.term)
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

// runLeadership opens the term with its first entry, then runs the leader's goroutines until the leadership ends.
func (n *Node) runLeadership(ctx context.Context) {
	term, err := n.openTerm(ctx)
	if err != nil {
		n.log.Warn("leadership ended before this node's term was open", "error", err)
		return
	}
	l := &leaderState{node: n, term: term, openedAt: time.Now(), ctx: ctx}
	l.clock = newClock(n.ID(), n.config.Now)
	logMS := n.tables.positionNow().StampMS
	l.clock.raiseFloor(logMS)
	l.queue, l.confirmer, l.detector = newProposeQueue(l), newLeadershipConfirmer(l), newDetector(l)
	var acting sync.WaitGroup
	defer acting.Wait()
	acting.Go(l.confirmer.runRounds)
	// A round before the first command, so that already its timestamp is the median of a majority's clocks.
	first, cancel := context.WithTimeout(ctx, leadershipWait)
	_ = l.confirmer.confirmNow(first) // if it fails, timestamps stay at the log's last one until a later round
	cancel()
	l.calendar.startCalendar(logMS, l.clock.nextTimestamp(), n.leaderlessFor())
	acting.Go(l.queue.runUntilEnd)
	if !n.publishLeaderState(l) {
		return
	}
	n.log.Info("this node leads", "code", "LEADS", "term", term)
	acting.Go(l.detector.Run)
	acting.Go(l.tendCalendar)
	acting.Go(l.tendMembers)
}

// leaderlessFor returns the time between the last contact of a leader and now, when this node became the leader.
func (n *Node) leaderlessFor() time.Duration {
	if heard := n.raftIfRunning().LastContact(); !heard.IsZero() {
		return time.Since(heard)
	}
	return time.Duration(math.MaxInt64) // no leader since this process started
}

// publishLeaderState makes the leadership visible to calls. It returns false if it has ended meanwhile.
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

// openTerm proposes the term's first entry and returns its term once it is applied. Then the tables hold every entry that
// an earlier leader acknowledged.
func (n *Node) openTerm(ctx context.Context) (uint64, error) {
	cluster := n.clusterID()
	position := n.tables.positionNow()
	var commands []*fsm.Command
	if len(position.Cluster) == 0 {
		classes := n.config.Classes
		if classes == nil {
			classes = fsm.DefaultClasses()
		}
		commands = append(commands, fsm.NewCommand(nil, &fsm.FoundCluster{Cluster: cluster, Level: fsm.FirstLevel, Policies: fsm.DefaultPolicies(), Classes: classes}))
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

// readAppliedResult returns the result of an entry that this node proposed and applied. If the tables skipped the entry,
// they had passed its index before it was written, so the log and the tables do not belong together and the node stops.
func (n *Node) readAppliedResult(f raft.ApplyFuture) (appliedResults, error) {
	a, ok := f.Response().(appliedResults)
	if !ok || a.skipped {
		err := fmt.Errorf("%w: this node proposed entry %d, but its tables had passed that index before: log and tables do not belong together", ErrFailed, f.Index())
		n.fail(err)
		return appliedResults{}, fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	return a, nil
}

// leaderStateNow returns the current leadership, or nil while this node does not lead.
func (n *Node) leaderStateNow() *leaderState {
	n.leadership.mu.Lock()
	defer n.leadership.mu.Unlock()
	return n.leadership.current
}

// awaitLeaderState returns the current leadership. It waits for at most leadershipWait while this node is opening its term,
// or while it knows of no leader.
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

// handOverLeadership waits for pending proposals, then transfers leadership to another voter, so that a planned stop costs
// no election. Either may fail within drainLimit: the followers then elect a leader by themselves.
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
		hand, cancel := context.WithTimeout(n.ctx, drainLimit) // not l.ctx, which ends during the transfer
		defer cancel()
		if err := n.transferLeadership(hand); err != nil {
			n.log.Debug("hand the lead over", "error", err)
		}
	}
}

// Transfer hands leadership to another voter and returns once this node does not lead any more.
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
