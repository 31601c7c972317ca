package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	maxCommands   = 4096 // in one entry; a token numbers at most lock.MaxPlace
	maxEntries    = 2    // in flight; more only make each other wait
	entryOverhead = 128  // bytes of an entry besides its commands, at most
)

// Propose writes a command to the log and returns its result once it is applied here. Only the leader proposes; it never
// passes a command on. A nil error says that it was applied: what became of it is Result.Code.
//
// NotLeaderError, ErrBusy, ErrNoSpace and ErrClosed refuse: it did not happen and will not by this call. ErrUnknown: it may have
// happened, or may yet; ask again under the same request number.
func (n *Node) Propose(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	began := time.Now()
	result, err := n.propose(ctx, command)
	n.config.Metrics.Proposed(command, result, time.Since(began), err)
	return result, err
}

func (n *Node) propose(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	l, err := n.lead(ctx)
	if err != nil {
		return fsm.Result{}, err
	}
	l.witnesses.noticed(lock.Incarnation(command.GetRequest().GetIncarnation()))
	if err := l.admits(command); err != nil {
		return fsm.Result{}, err
	}
	return l.queue.propose(ctx, command)
}

// queue packs what waits into entries, for one lead.
type queue struct {
	l     *lead
	limit uint64
	wake  chan struct{}
	slots chan struct{} // one token for each entry in flight

	mu      sync.Mutex
	waiting []*proposal
	bytes   uint64 // waiting and in flight
	flights map[*flight]struct{}
	over    bool
}

type proposal struct {
	command *fsm.Command
	size    uint64
	done    chan verdict // has room for one
}

type verdict struct {
	result fsm.Result
	err    error
}

// flight is an entry that raft has and has not answered.
type flight struct {
	since     time.Time
	proposals []*proposal
}

func newQueue(l *lead) *queue {
	return &queue{
		l: l, limit: l.node.config.MaxInFlightBytes, wake: make(chan struct{}, 1),
		slots: make(chan struct{}, maxEntries), flights: map[*flight]struct{}{},
	}
}

func (q *queue) propose(ctx context.Context, command *fsm.Command) (fsm.Result, error) {
	p := &proposal{command: command, size: uint64(fsm.Size(command)), done: make(chan verdict, 1)}
	if p.size+entryOverhead > fsm.MaxEntryBytes {
		return fsm.Result{}, fmt.Errorf("propose: a command of %d bytes does not fit into an entry of %d: send its data in parts", p.size, fsm.MaxEntryBytes)
	}
	if err := q.join(p); err != nil {
		return fsm.Result{}, err
	}
	select {
	case v := <-p.done:
		return v.result, v.err
	case <-ctx.Done():
	case <-q.l.node.ctx.Done():
	}
	if q.withdraw(p) {
		if ctx.Err() == nil {
			return fsm.Result{}, ErrClosed
		}
		return fsm.Result{}, fmt.Errorf("propose: %w: it still waited: %w", ErrBusy, ctx.Err())
	}
	select {
	case v := <-p.done: // it was answered meanwhile
		return v.result, v.err
	default:
	}
	if ctx.Err() != nil {
		return fsm.Result{}, fmt.Errorf("propose: %w: %v", ErrUnknown, ctx.Err())
	}
	return fsm.Result{}, fmt.Errorf("propose: %w: %v", ErrUnknown, ErrClosed)
}

func (q *queue) join(p *proposal) error {
	q.mu.Lock()
	over, full := q.over, q.bytes+p.size > q.limit
	if !over && !full {
		q.bytes += p.size
		q.waiting = append(q.waiting, p)
	}
	q.mu.Unlock()
	switch {
	case over:
		return q.l.node.notLeader()
	case full:
		return ErrBusy
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// withdraw takes a proposal back; false: it may be in an entry.
func (q *queue) withdraw(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, p)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.bytes -= p.size
	return true
}

// run makes entries until the lead is over, then refuses what still waits.
func (q *queue) run() {
	defer q.end()
	for {
		select {
		case <-q.l.ctx.Done():
			return
		case q.slots <- struct{}{}:
		}
		batch := q.take()
		for batch == nil {
			select {
			case <-q.l.ctx.Done():
				return
			case <-q.wake:
			}
			batch = q.take()
		}
		q.send(batch)
	}
}

// take is the next entry's worth of what waits; nil: nothing does.
func (q *queue) take() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	count, size := 0, uint64(entryOverhead)
	for _, p := range q.waiting {
		if count == maxCommands || size+p.size > fsm.MaxEntryBytes {
			break
		}
		size += p.size
		count++
	}
	if count == 0 {
		return nil
	}
	batch := slices.Clone(q.waiting[:count])
	q.waiting = slices.Delete(q.waiting, 0, count)
	return batch
}

// send proposes one entry and leaves its outcome to a goroutine, which gives the slot back.
func (q *queue) send(batch []*proposal) {
	n := q.l.node
	commands := make([]*fsm.Command, len(batch))
	for i, p := range batch {
		commands[i] = p.command
	}
	entry, err := fsm.Encode(n.clusterID(), q.l.clock.stamp(), commands)
	if err != nil {
		q.settle(&flight{proposals: batch}, nil, fmt.Errorf("propose: %w", err))
		return
	}
	if q.l.ctx.Err() != nil {
		q.settle(&flight{proposals: batch}, nil, n.notLeader())
		return
	}
	f := &flight{since: time.Now(), proposals: batch}
	q.mu.Lock()
	q.flights[f] = struct{}{}
	q.mu.Unlock()
	n.config.Metrics.Entry(len(batch), len(entry))
	future := n.running().Apply(entry, openWait)
	n.later(func() { q.land(f, future) })
}

func (q *queue) land(f *flight, future raft.ApplyFuture) {
	n := q.l.node
	if err := n.proposed(future.Error()); err != nil {
		q.settle(f, nil, err)
		return
	}
	a, err := n.outcome(future)
	if err == nil && len(a.results) != len(f.proposals) {
		err = fmt.Errorf("%w: %d commands had %d results", ErrFailed, len(f.proposals), len(a.results))
		n.stop(err)
		err = fmt.Errorf("propose: %w: %v", ErrUnknown, err)
	}
	q.settle(f, a.results, err)
}

// settle answers everybody in an entry.
func (q *queue) settle(f *flight, results []fsm.Result, err error) {
	q.mu.Lock()
	delete(q.flights, f)
	for _, p := range f.proposals {
		q.bytes -= p.size
	}
	q.mu.Unlock()
	for i, p := range f.proposals {
		v := verdict{err: err}
		if err == nil {
			v.result = results[i]
		}
		p.done <- v
	}
	<-q.slots
}

func (q *queue) end() {
	q.mu.Lock()
	left := q.waiting
	q.waiting, q.over = nil, true
	for _, p := range left {
		q.bytes -= p.size
	}
	q.mu.Unlock()
	err := q.l.node.notLeader()
	for _, p := range left {
		p.done <- verdict{err: err}
	}
}

// idle says that nothing waits and nothing is in flight.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) == 0 && len(q.flights) == 0
}

// oldest is how long the oldest entry that raft has not answered has been with it.
func (q *queue) oldest() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	var oldest time.Duration
	for f := range q.flights {
		oldest = max(oldest, time.Since(f.since))
	}
	return oldest
}
