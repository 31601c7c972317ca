package cluster

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
)

// watchLeadership reads raft's notices of gained and lost leadership. It must read at once: raft's main loop blocks on
// the unbuffered channel.
func (s *leadership) watchLeadership(told <-chan bool) {
	for {
		select {
		case gained := <-told:
			s.changeLeadership(gained)
		case <-s.raftDown:
			s.changeLeadership(false)
			return
		}
	}
}

func (s *leadership) changeLeadership(gained bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	gained = gained && !s.closed
	if s.current != nil {
		s.node.log.Info("this node no longer leads", "term", s.current.term)
	}
	s.current, s.opening = nil, gained
	close(s.changed)
	s.changed = make(chan struct{})
	if gained {
		ctx, cancel := context.WithCancel(s.node.lifecycle.running)
		s.cancel = cancel
		s.goroutines.Go(func() {
			defer cancel()
			s.runLeadership(ctx)
		})
	}
}

// runLeadership opens the term with its first entry, then runs the leader's goroutines until the leadership ends.
func (s *leadership) runLeadership(ctx context.Context) {
	n := s.node
	term, err := s.openTerm(ctx)
	if err != nil {
		n.log.Warn("leadership ended before this node's term was open", "error", err)
		return
	}
	l := &leaderState{node: n, term: term, openedAt: time.Now(), ctx: ctx}
	l.spaceTight.Store(n.space.belowReserve.Load()) // until the first round of hellos shows how it is elsewhere
	l.clock = newClock(n.ID(), n.config.Now)
	logMS := n.tables.Position().StampMS
	l.clock.raiseFloor(logMS)
	l.queue, l.confirmer, l.detector = newProposeQueue(l), newLeadershipConfirmer(l), newDetector(l)
	var acting sync.WaitGroup
	defer acting.Wait()
	acting.Go(l.confirmer.runRounds)
	// A round before the first command, so that already its timestamp is the median of a majority's clocks.
	first, cancel := context.WithTimeout(ctx, leadershipWait)
	_ = l.confirmer.confirmNow(first) // if it fails, timestamps stay at the log's last one until a later round
	cancel()
	l.calendar.startCalendar(logMS, l.clock.nextTimestamp(), s.leaderlessFor())
	acting.Go(l.queue.runUntilEnd)
	if !s.publishLeaderState(l) {
		return
	}
	n.log.Info("this node leads", "code", "LEADS", "term", term)
	acting.Go(l.detector.Run)
	acting.Go(l.tendCalendar)
	acting.Go(l.compareRanges)
	acting.Go(func() { s.onOpen(l) })
}

// leaderlessFor returns the time between the last contact of a leader and now, when this node became the leader.
func (s *leadership) leaderlessFor() time.Duration {
	if heard := s.node.raftIfRunning().LastContact(); !heard.IsZero() {
		return time.Since(heard)
	}
	return time.Duration(math.MaxInt64) // no leader since this process started
}

// publishLeaderState makes the leadership visible to calls. It returns false if it has ended meanwhile.
func (s *leadership) publishLeaderState(l *leaderState) bool {
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
func (s *leadership) openTerm(ctx context.Context) (uint64, error) {
	n := s.node
	cluster := n.clusterID()
	position := n.tables.Position()
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
		err := s.classifyProposeError(n.lifecycle.waitForFuture(ctx, f))
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
		a, err := s.readAppliedResult(f)
		if err != nil {
			return 0, fmt.Errorf("open term: %w", err)
		}
		return a.Term, nil
	}
}

// awaitLeaderState returns the current leadership. It waits for at most leadershipWait while this node is opening its term,
// or while it knows of no leader.
func (s *leadership) awaitLeaderState(ctx context.Context) (*leaderState, error) {
	closing := s.node.lifecycle.closing.Done()
	limit := time.NewTimer(leadershipWait)
	defer limit.Stop()
	for {
		select {
		case <-closing:
			return nil, ErrClosed
		default:
		}
		s.mu.Lock()
		now, gaining, changed := s.current, s.opening, s.changed
		s.mu.Unlock()
		if now != nil {
			return now, nil
		}
		if !gaining {
			if !s.knowsLeader() && s.waitToKnowLeader(ctx, limit.C) {
				continue
			}
			return nil, s.notLeaderError()
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil, s.notLeaderError()
		case <-closing:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: this node is about to lead: %w", ErrBusy, ctx.Err())
		}
	}
}

// handOverLeadership waits for pending proposals, then transfers leadership to another voter, so that a planned stop costs
// no election. Either may fail within drainLimit: the followers then elect a leader by themselves.
func (s *leadership) handOverLeadership() {
	n := s.node
	l := s.now()
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, drainLimit)
	defer cancel()
	for !l.queue.isIdle() {
		select {
		case <-ctx.Done():
			return
		case <-n.lifecycle.hurried.Done():
			return
		case <-time.After(drainPeriod):
		}
	}
	if len(configuredPeers(n.raftIfRunning())) > 1 {
		hand, cancel := context.WithTimeout(n.lifecycle.running, drainLimit) // not l.ctx, which ends during the transfer
		defer cancel()
		if err := s.transferLeadership(hand); err != nil {
			n.log.Debug("hand the lead over", "error", err)
		}
	}
}

func (s *leadership) transferLeadership(ctx context.Context) error {
	return s.transferBy(ctx, s.node.raftIfRunning().LeadershipTransfer)
}

// transferTo hands the leadership to one voter.
func (s *leadership) transferTo(ctx context.Context, to raft.Server) error {
	return s.transferBy(ctx, func() raft.Future { return s.node.raftIfRunning().LeadershipTransferToServer(to.ID, to.Address) })
}

func (s *leadership) transferBy(ctx context.Context, transfer func() raft.Future) error {
	answer := make(chan error, 1)
	hurried := s.node.lifecycle.hurried.Done()
	s.node.lifecycle.goFuture(func() { answer <- transfer().Error() })
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("hand the lead over: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("hand the lead over: %w", ctx.Err())
	case <-hurried:
		return ErrClosed
	}
	for {
		s.mu.Lock()
		over, changed := s.current == nil, s.changed
		s.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("hand the lead over: %w", ctx.Err())
		case <-hurried:
			return ErrClosed
		}
	}
}

// waitForEnd lets no leadership begin any more, and waits for the goroutines of the last one.
func (s *leadership) waitForEnd() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.goroutines.Wait()
}
