package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/commandqueue"
	"github.com/profilenode/profilenode/fsm"
)

const maxEntriesInFlight = 2 // one is written while the next is packed; more entries would only wait for each other

// proposeQueue packs waiting commands into entries, for one leadership. Two commands have an order only if the first was
// answered before the second was proposed; calls of one client overtake each other on the way here too.
type proposeQueue struct {
	leader     *leaderState
	waiting    *commandqueue.Queue[*pendingProposal]
	wake       chan struct{}
	entrySlots chan struct{} // holds one token for each entry in flight

	mu       sync.Mutex
	inFlight map[*entryInFlight]struct{}
}

type pendingProposal struct {
	command *fsm.Command
	answer  chan proposalResult // buffered: one result
}

type proposalResult struct {
	result fsm.Result
	err    error
}

// entryInFlight is an entry that was given to raft and is not answered yet.
type entryInFlight struct {
	sentAt    time.Time
	proposals []*commandqueue.Waiting[*pendingProposal]
}

func newProposeQueue(l *leaderState) *proposeQueue {
	return &proposeQueue{
		leader: l, waiting: commandqueue.New[*pendingProposal](l.node.config.MaxInFlightBytes), wake: make(chan struct{}, 1),
		entrySlots: make(chan struct{}, maxEntriesInFlight), inFlight: map[*entryInFlight]struct{}{},
	}
}

func (q *proposeQueue) proposeAndWait(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	size := uint64(fsm.Size(command))
	if size+commandqueue.EntryOverhead > fsm.MaxEntryBytes {
		return fsm.Result{}, fmt.Errorf("propose: a command of %d bytes does not fit into an entry of %d: send its data in parts", size, fsm.MaxEntryBytes)
	}
	p := &pendingProposal{command: command, answer: make(chan proposalResult, 1)}
	place, err := q.addProposal(p, size)
	if err != nil {
		return fsm.Result{}, err
	}
	select {
	case v := <-p.answer:
		return v.result, v.err
	case <-ctx.Done():
	case <-q.leader.node.lifecycle.running.Done():
	}
	if q.waiting.Withdraw(place) {
		if ctx.Err() == nil {
			return fsm.Result{}, ErrClosed
		}
		return fsm.Result{}, fmt.Errorf("propose: %w: it still waited: %w", ErrBusy, ctx.Err())
	}
	select {
	case v := <-p.answer: // the answer came in the meantime
		return v.result, v.err
	default:
	}
	if ctx.Err() != nil {
		return fsm.Result{}, fmt.Errorf("propose: %w: %v", ErrUnknown, ctx.Err())
	}
	return fsm.Result{}, fmt.Errorf("propose: %w: %v", ErrUnknown, ErrClosed)
}

// addProposal lets a command wait for an entry.
func (q *proposeQueue) addProposal(p *pendingProposal, size uint64) (*commandqueue.Waiting[*pendingProposal], error) {
	place, err := q.waiting.Add(p, size, kindOf(p.command))
	switch {
	case errors.Is(err, commandqueue.ErrClosed):
		return nil, q.leader.node.leadership.notLeaderError()
	case err != nil:
		return nil, ErrBusy
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return place, nil
}

func kindOf(c *fsm.Command) commandqueue.Kind {
	switch {
	case c.GetReclaim() != nil:
		return commandqueue.Reclaim
	case c.GetRequest() == nil && c.GetRegister() == nil: // no client sent it
		return commandqueue.OfCluster
	}
	return commandqueue.OfClient
}

// runUntilEnd packs and sends entries until the leadership ends, then refuses the waiting commands.
func (q *proposeQueue) runUntilEnd() {
	defer q.failAll()
	for {
		select {
		case <-q.leader.ctx.Done():
			return
		case q.entrySlots <- struct{}{}:
		}
		batch := q.waiting.TakeBatch()
		for batch == nil {
			select {
			case <-q.leader.ctx.Done():
				return
			case <-q.wake:
			}
			batch = q.waiting.TakeBatch()
		}
		q.sendEntry(batch)
	}
}

// sendEntry gives one entry to raft. A goroutine waits for its outcome and frees the slot.
func (q *proposeQueue) sendEntry(batch []*commandqueue.Waiting[*pendingProposal]) {
	n := q.leader.node
	entry, err := q.encodeEntry(batch)
	if err != nil { // one command must not cost the others their entry
		batch = q.refuseUnfit(batch)
		entry, err = q.encodeEntry(batch)
	}
	if err != nil || len(batch) == 0 {
		q.replyAll(&entryInFlight{proposals: batch}, nil, fmt.Errorf("propose: %w", err))
		return
	}
	if q.leader.ctx.Err() != nil {
		q.replyAll(&entryInFlight{proposals: batch}, nil, n.leadership.notLeaderError())
		return
	}
	f := &entryInFlight{sentAt: time.Now(), proposals: batch}
	q.mu.Lock()
	q.inFlight[f] = struct{}{}
	q.mu.Unlock()
	n.config.Metrics.RecordEntry(len(batch), len(entry))
	future := n.raftIfRunning().Apply(entry, leadershipWait)
	n.lifecycle.goFuture(func() { q.onCommitted(f, future) })
}

// encodeEntry makes the entry of a batch. It reads it as every node will: all nodes would stop at an entry that cannot be applied.
func (q *proposeQueue) encodeEntry(batch []*commandqueue.Waiting[*pendingProposal]) ([]byte, error) {
	n := q.leader.node
	commands := make([]*fsm.Command, len(batch))
	for i, p := range batch {
		commands[i] = p.Value.command
	}
	position := n.tables.Position()
	entry, err := fsm.Encode(position.Level, n.clusterID(), q.leader.clock.nextTimestamp(), commands)
	if err != nil {
		return nil, err
	}
	return entry, fsm.CheckEntry(entry, n.config.build(), position.Cluster)
}

// refuseUnfit refuses the commands of a batch that make no entry, not even alone, and returns the others.
func (q *proposeQueue) refuseUnfit(batch []*commandqueue.Waiting[*pendingProposal]) (fit []*commandqueue.Waiting[*pendingProposal]) {
	for _, p := range batch {
		alone := []*commandqueue.Waiting[*pendingProposal]{p}
		if _, err := q.encodeEntry(alone); err != nil {
			q.leader.node.log.Error("a command is refused that no node could apply", "error", err)
			q.waiting.Release(alone)
			p.Value.answer <- proposalResult{err: fmt.Errorf("propose: %w", err)}
			continue
		}
		fit = append(fit, p)
	}
	return fit
}

func (q *proposeQueue) onCommitted(f *entryInFlight, future raft.ApplyFuture) {
	n := q.leader.node
	if err := n.leadership.classifyProposeError(future.Error()); err != nil {
		q.replyAll(f, nil, err)
		return
	}
	a, err := n.leadership.readAppliedResult(future)
	if err == nil && len(a.Results) != len(f.proposals) {
		err = fmt.Errorf("%w: %d commands had %d results", ErrFailed, len(f.proposals), len(a.Results))
		n.fail(err)
		err = fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	q.replyAll(f, a.Results, err)
}

// replyAll answers every command of an entry.
func (q *proposeQueue) replyAll(f *entryInFlight, results []fsm.Result, err error) {
	q.mu.Lock()
	delete(q.inFlight, f)
	q.mu.Unlock()
	q.waiting.Release(f.proposals)
	for i, p := range f.proposals {
		v := proposalResult{err: err}
		if err == nil {
			v.result = results[i]
		}
		p.Value.answer <- v
	}
	<-q.entrySlots
}

// failAll refuses all commands that wait, and those that come later.
func (q *proposeQueue) failAll() {
	left := q.waiting.Close()
	err := q.leader.node.leadership.notLeaderError()
	for _, p := range left {
		p.Value.answer <- proposalResult{err: err}
	}
}

// isIdle reports that no command waits and no entry is in flight.
func (q *proposeQueue) isIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.waiting.Waits() && len(q.inFlight) == 0
}

// oldestWait returns the age of the oldest entry in flight, 0 if there is none.
func (q *proposeQueue) oldestWait() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	var oldest time.Duration
	for f := range q.inFlight {
		oldest = max(oldest, time.Since(f.sentAt))
	}
	return oldest
}
