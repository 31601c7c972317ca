package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
)

const (
	maxEntryCommands   = 4096 // a token numbers at most lock.MaxPlace commands of an entry
	maxEntriesInFlight = 2    // one is written while the next is packed; more entries would only wait for each other
	entryOverhead      = 128  // upper bound on the bytes of an entry besides its commands

	// smallCommandBytes is the size up to which a command waits in the lane of small ones: a message, or 64 KiB of data
	// with its fields.
	smallCommandBytes = 80 << 10
)

// proposeQueue packs waiting commands into entries, for one leadership. Small and large commands wait in separate lanes,
// first come, first served, and every entry has room for both lanes: a small command waits behind at most two large ones,
// and small commands cannot starve the large ones. Two commands have an order only if the first was answered before the
// second was proposed; calls of one client overtake each other on the way here too.
type proposeQueue struct {
	leader     *leaderState
	limitBytes uint64
	wake       chan struct{}
	entrySlots chan struct{} // holds one token for each entry in flight

	mu        sync.Mutex
	smallLane queueLane
	largeLane queueLane
	inFlight  map[*entryInFlight]struct{}
	closed    bool
}

// queueLane is one of the two lanes.
type queueLane struct {
	waiting []*pendingProposal
	bytes   uint64 // of commands that wait or are in flight
}

type pendingProposal struct {
	command *fsm.Command
	size    uint64
	answer  chan proposalResult // buffered: one result
}

type proposalResult struct {
	result fsm.Result
	err    error
}

// entryInFlight is an entry that was given to raft and is not answered yet.
type entryInFlight struct {
	sentAt    time.Time
	proposals []*pendingProposal
}

func newProposeQueue(l *leaderState) *proposeQueue {
	return &proposeQueue{
		leader: l, limitBytes: l.node.config.MaxInFlightBytes, wake: make(chan struct{}, 1),
		entrySlots: make(chan struct{}, maxEntriesInFlight), inFlight: map[*entryInFlight]struct{}{},
	}
}

func (q *proposeQueue) proposeAndWait(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	p := &pendingProposal{command: command, size: uint64(fsm.Size(command)), answer: make(chan proposalResult, 1)}
	if p.size+entryOverhead > fsm.MaxEntryBytes {
		return fsm.Result{}, fmt.Errorf("propose: a command of %d bytes does not fit into an entry of %d: send its data in parts", p.size, fsm.MaxEntryBytes)
	}
	if err := q.addProposal(p); err != nil {
		return fsm.Result{}, err
	}
	select {
	case v := <-p.answer:
		return v.result, v.err
	case <-ctx.Done():
	case <-q.leader.node.lifecycle.running.Done():
	}
	if q.withdrawProposal(p) {
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

func (q *proposeQueue) addProposal(p *pendingProposal) error {
	q.mu.Lock()
	line, limit := q.laneFor(p), q.limitBytes
	if line == &q.largeLane {
		limit -= limit / 4 // the last quarter is for small commands alone
	}
	over, full := q.closed, line.bytes+p.size > limit || q.smallLane.bytes+q.largeLane.bytes+p.size > q.limitBytes
	if !over && !full {
		line.bytes += p.size
		line.waiting = append(line.waiting, p)
	}
	q.mu.Unlock()
	switch {
	case over:
		return q.leader.node.leadership.notLeaderError()
	case full:
		return ErrBusy
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// laneFor returns the lane of a command. mu must be held.
func (q *proposeQueue) laneFor(p *pendingProposal) *queueLane {
	if p.size > smallCommandBytes {
		return &q.largeLane
	}
	return &q.smallLane
}

// withdrawProposal removes a waiting command. It returns false if the command may be in an entry already.
func (q *proposeQueue) withdrawProposal(p *pendingProposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.laneFor(p)
	i := slices.Index(line.waiting, p)
	if i < 0 {
		return false
	}
	line.waiting = slices.Delete(line.waiting, i, i+1)
	line.bytes -= p.size
	return true
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
		batch := q.takeBatch()
		for batch == nil {
			select {
			case <-q.leader.ctx.Done():
				return
			case <-q.wake:
			}
			batch = q.takeBatch()
		}
		q.sendEntry(batch)
	}
}

// takeBatch removes and returns the commands for the next entry, nil if none wait. Large commands get half of the entry
// first, then small ones, then large ones again if room is left.
func (q *proposeQueue) takeBatch() []*pendingProposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	const room = fsm.MaxEntryBytes - entryOverhead
	batch, size := q.largeLane.takeFitting(nil, 0, room/2)
	batch, size = q.smallLane.takeFitting(batch, size, room)
	batch, _ = q.largeLane.takeFitting(batch, size, room)
	return batch
}

// takeFitting moves commands from the lane to batch, while the entry of size bytes stays within most. An empty entry
// takes the first command whatever its size: a part, or whole data, is 512 KiB plus its fields, a little more than half
// of an entry.
func (l *queueLane) takeFitting(batch []*pendingProposal, size, most uint64) ([]*pendingProposal, uint64) {
	count := 0
	for _, p := range l.waiting {
		if len(batch)+count == maxEntryCommands || size > 0 && size+p.size > most {
			break
		}
		size += p.size
		count++
	}
	batch = append(batch, l.waiting[:count]...)
	l.waiting = slices.Delete(l.waiting, 0, count)
	return batch, size
}

// sendEntry gives one entry to raft. A goroutine waits for its outcome and frees the slot.
func (q *proposeQueue) sendEntry(batch []*pendingProposal) {
	n := q.leader.node
	commands := make([]*fsm.Command, len(batch))
	for i, p := range batch {
		commands[i] = p.command
	}
	entry, err := fsm.Encode(n.tables.Position().Level, n.clusterID(), q.leader.clock.nextTimestamp(), commands)
	if err != nil {
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
	for _, p := range f.proposals {
		q.laneFor(p).bytes -= p.size
	}
	q.mu.Unlock()
	for i, p := range f.proposals {
		v := proposalResult{err: err}
		if err == nil {
			v.result = results[i]
		}
		p.answer <- v
	}
	<-q.entrySlots
}

func (q *proposeQueue) failAll() {
	q.mu.Lock()
	left := append(q.smallLane.waiting, q.largeLane.waiting...)
	q.smallLane, q.largeLane, q.closed = queueLane{bytes: q.smallLane.bytes}, queueLane{bytes: q.largeLane.bytes}, true
	for _, p := range left {
		q.laneFor(p).bytes -= p.size
	}
	q.mu.Unlock()
	err := q.leader.node.leadership.notLeaderError()
	for _, p := range left {
		p.answer <- proposalResult{err: err}
	}
}

// isIdle reports that no command waits and no entry is in flight.
func (q *proposeQueue) isIdle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.smallLane.waiting) == 0 && len(q.largeLane.waiting) == 0 && len(q.inFlight) == 0
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
