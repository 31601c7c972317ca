// Package commandqueue holds the commands that wait for a place in an entry of the log, and decides which ones an entry
// takes.
//
// There are four lanes, each first come, first served. The cluster's own commands, which end lost game servers and grant
// their profiles, go first and have room of their own: under overload a takeover must not be the first to wait. Of those that
// reclaim sessions an entry takes a few, and leaves the rest of its time to all others. Small and large commands share every
// entry: a small one waits behind at most two large ones, and small ones cannot starve large ones.
package commandqueue

import (
	"errors"
	"sync"

	"github.com/profilenode/profilenode/fsm"
)

const (
	// MaxCommands is the most commands of an entry: a token numbers at most lock.MaxPlace commands.
	MaxCommands = 4096
	// EntryOverhead is an upper bound on the bytes of an entry besides its commands.
	EntryOverhead = 128

	// smallBytes is the size up to which a command waits in the lane of small ones: a message, or 64 KiB of data with its
	// fields.
	smallBytes = 80 << 10
	// leastCounted is the number of bytes that a waiting command counts at least: the call that waits for it holds a
	// goroutine and buffers, however small the command is.
	leastCounted = 4 << 10
	// reclaimsOfEntry is the most commands of an entry that reclaim sessions. Each may claim fsm.MaxClaims, of about 20 us: an
	// entry is applied for some 20 ms then.
	reclaimsOfEntry = 4
	// compactFrom is the number of withdrawn commands from which a lane is copied without them.
	compactFrom = 1024
)

// Errors of Add.
var (
	ErrFull   = errors.New("too many commands wait")
	ErrClosed = errors.New("the queue takes no more commands")
)

// Waiting is a command in the queue.
type Waiting[T any] struct {
	Value T
	Size  uint64 // bytes of the command in an entry

	lane  *lane[T]
	state state
}

// Kind is the kind of a command, by which it waits.
type Kind uint8

const (
	OfClient  Kind = iota // waits among the small or the large ones
	OfCluster             // one of the cluster's own
	Reclaim               // one that reclaims sessions
)

type state uint8

const (
	waits state = iota
	taken
	withdrawn
)

// counted is the size of the command as the limits count it.
func (w *Waiting[T]) counted() uint64 { return max(w.Size, leastCounted) }

// Queue is the queue of one leadership. It is safe for concurrent use.
type Queue[T any] struct {
	limit uint64 // counted bytes of all lanes together but the cluster's own

	mu                          sync.Mutex
	own, reclaims, small, large lane[T]
	closed                      bool
}

// lane is one of the lanes.
type lane[T any] struct {
	waiting   []*Waiting[T] // in order, withdrawn ones included until they are reached or the lane is compacted
	withdrawn int           // commands of waiting that were withdrawn
	bytes     uint64        // counted bytes of commands that wait or are in flight
}

// New returns a queue that takes commands of so many counted bytes, in flight or waiting. The cluster's own commands have an
// eighth of it besides.
func New[T any](limit uint64) *Queue[T] { return &Queue[T]{limit: limit} }

// Add puts a command of size bytes at the end of its lane. It returns ErrFull or ErrClosed if the command was not taken.
func (q *Queue[T]) Add(value T, size uint64, kind Kind) (*Waiting[T], error) {
	w := &Waiting[T]{Value: value, Size: size}
	q.mu.Lock()
	defer q.mu.Unlock()
	shared := q.reclaims.bytes + q.small.bytes + q.large.bytes + w.counted()
	var full bool
	switch {
	case kind == OfCluster:
		w.lane, full = &q.own, q.own.bytes+w.counted() > q.limit/8
	case kind == Reclaim:
		w.lane, full = &q.reclaims, shared > q.limit
	case size > smallBytes:
		// The last quarter is for small commands alone.
		w.lane, full = &q.large, q.large.bytes+w.counted() > q.limit-q.limit/4 || shared > q.limit
	default:
		w.lane, full = &q.small, shared > q.limit
	}
	switch {
	case q.closed:
		return nil, ErrClosed
	case full:
		return nil, ErrFull
	}
	w.lane.bytes += w.counted()
	w.lane.waiting = append(w.lane.waiting, w)
	return w, nil
}

// Withdraw removes a command that still waits. It returns false if the command was taken into an entry, or withdrawn,
// before. It costs the same however many commands wait: the command is only marked, and skipped when it is reached.
func (q *Queue[T]) Withdraw(w *Waiting[T]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.state != waits {
		return false
	}
	w.state = withdrawn
	w.lane.bytes -= w.counted()
	w.lane.withdrawn++
	w.lane.compact()
	return true
}

// compact copies the lane without its withdrawn commands once they are the greater part, so that they hold no memory.
func (l *lane[T]) compact() {
	if l.withdrawn < compactFrom || l.withdrawn < len(l.waiting)/2 {
		return
	}
	kept := make([]*Waiting[T], 0, len(l.waiting)-l.withdrawn)
	for _, w := range l.waiting {
		if w.state == waits {
			kept = append(kept, w)
		}
	}
	l.waiting, l.withdrawn = kept, 0
}

// TakeBatch removes and returns the commands for the next entry, nil if none wait. The cluster's own go first, then a
// few that reclaim sessions. Large commands get half of the rest, then small ones go, then large ones again if room is left.
func (q *Queue[T]) TakeBatch() []*Waiting[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	const room = fsm.MaxEntryBytes - EntryOverhead
	batch, size := q.own.takeFitting(nil, 0, room, MaxCommands)
	batch, size = q.reclaims.takeFitting(batch, size, room, len(batch)+reclaimsOfEntry)
	batch, size = q.large.takeFitting(batch, size, size+(room-size)/2, MaxCommands)
	batch, size = q.small.takeFitting(batch, size, room, MaxCommands)
	batch, _ = q.large.takeFitting(batch, size, room, MaxCommands)
	return batch
}

// takeFitting moves commands from the lane to batch, while the entry of size bytes stays within most, and the batch within
// count. An empty entry takes the first command whatever its size: a part, or whole data, is 512 KiB plus its fields, a little more than half
// of an entry.
func (l *lane[T]) takeFitting(batch []*Waiting[T], size, most uint64, count int) ([]*Waiting[T], uint64) {
	for len(l.waiting) > 0 {
		w := l.waiting[0]
		if w.state == waits {
			if len(batch) >= min(count, MaxCommands) || size > 0 && size+w.Size > most {
				break
			}
			size += w.Size
			w.state = taken
			batch = append(batch, w)
		} else {
			l.withdrawn--
		}
		l.waiting[0] = nil // the rest of the array must not hold it
		l.waiting = l.waiting[1:]
	}
	return batch, size
}

// Release says that the commands of a batch are no longer in flight.
func (q *Queue[T]) Release(batch []*Waiting[T]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range batch {
		w.lane.bytes -= w.counted()
	}
}

// Close lets nothing in any more, and removes and returns the commands that still waited.
func (q *Queue[T]) Close() (left []*Waiting[T]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range []*lane[T]{&q.own, &q.reclaims, &q.small, &q.large} {
		for _, w := range l.waiting {
			if w.state == waits {
				w.state = taken
				l.bytes -= w.counted()
				left = append(left, w)
			}
		}
		l.waiting, l.withdrawn = nil, 0
	}
	return left
}

// Waits says whether a command waits.
func (q *Queue[T]) Waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range []*lane[T]{&q.own, &q.reclaims, &q.small, &q.large} {
		if len(l.waiting) > l.withdrawn {
			return true
		}
	}
	return false
}
