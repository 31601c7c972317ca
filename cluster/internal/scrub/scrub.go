// Package scrub computes, on each node, the checksums of the ranges of rows that all nodes compare, slowly. The digest of the
// tables shows that the nodes have written the same; the sums show that they still hold it.
//
// Its invariant: it uses at most one percent of a core, and keeps no view of the tables beyond the range at hand.
package scrub

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/profilenode/profilenode/cluster/internal/tables"
)

const (
	pieceBytes = 256 << 10       // bytes that are read without a pause
	idleShare  = 99              // a pause is this many times as long as the reading before it
	longPause  = 2 * time.Second // and at most so long, where the disk was slow
)

// Sum is the checksum of a range of rows.
type Sum struct {
	Index uint64 // the entry after which the rows were read
	Sum   uint64
}

// Reader computes the sums of this node.
type Reader struct {
	log *slog.Logger

	mu      sync.Mutex
	ended   bool
	waiting chan rangeOfRows // has room for one
	last    Sum
}

type rangeOfRows struct {
	from, to []byte
	view     *tables.View
}

// NewReader returns a reader that computes sums while Run runs.
func NewReader(log *slog.Logger) *Reader {
	return &Reader{log: log, waiting: make(chan rangeOfRows, 1)}
}

// Begin takes a range of rows, and the view in which they are read. It does not block. While another range is read it closes the
// view: this node then has no sum of that range.
func (r *Reader) Begin(from, to []byte, view *tables.View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		select {
		case r.waiting <- rangeOfRows{from, to, view}:
			return
		default:
		}
	}
	_ = view.Close() // nothing was read from it
}

// Last returns the last sum that is complete.
func (r *Reader) Last() Sum {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Run reads the ranges that Begin takes, until ctx ends.
func (r *Reader) Run(ctx context.Context) {
	defer r.end()
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-r.waiting:
			r.readRange(ctx, next)
		}
	}
}

func (r *Reader) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	select {
	case left := <-r.waiting:
		_ = left.view.Close()
	default:
	}
}

func (r *Reader) readRange(ctx context.Context, next rangeOfRows) {
	defer func() { _ = next.view.Close() }()
	began := time.Now()
	sum, err := next.view.SumRange(next.from, next.to, pieceBytes, func() error {
		pause := time.NewTimer(min(idleShare*time.Since(began), longPause))
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		began = time.Now()
		return ctx.Err()
	})
	if err != nil {
		if ctx.Err() == nil {
			r.log.Warn("the rows of a range cannot be read, to be compared with those of the other nodes", "error", err)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = Sum{Index: next.view.Position().Index, Sum: sum}
}
