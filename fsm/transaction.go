package fsm

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/profilenode/profilenode/lock"
)

// tableReader reads rows, inside a batch or at a snapshot. It remembers the first error of the disk, so that the rules read
// like rules; whoever began the work checks err once.
type tableReader struct {
	from pebble.Reader
	rows *rowCache // nil: none
	err  error
}

func (r *tableReader) noteError(err error) {
	if r.err == nil {
		r.err = err
	}
}

// getRow returns a row, which must not be changed.
func (r *tableReader) getRow(key []byte) ([]byte, bool) {
	if r.err != nil {
		return nil, false
	}
	if row, known := r.rows.lookUp(key); known {
		return row, row != nil
	}
	value, closer, err := r.from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		r.rows.storeRow(key, nil)
		return nil, false
	}
	if err != nil {
		r.noteError(fmt.Errorf("read table %q: %w", key[0], err))
		return nil, false
	}
	row := append([]byte{}, value...)
	r.rows.storeRow(key, row)
	r.noteError(closer.Close())
	return row, true
}

func (r *tableReader) hasRow(key []byte) bool {
	_, ok := r.getRow(key)
	return ok
}

// scanRows walks the rows in [from, to) in order until f says stop. The slices are valid during the call.
func (r *tableReader) scanRows(from, to []byte, f func(key, row []byte) bool) {
	if r.err != nil {
		return
	}
	it, err := r.from.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		r.noteError(fmt.Errorf("scan table %q: %w", from[0], err))
		return
	}
	for ok := it.First(); ok && r.err == nil; ok = it.Next() {
		row, err := it.ValueAndErr()
		if err != nil {
			r.noteError(fmt.Errorf("scan table %q: %w", from[0], err))
			break
		}
		if !f(it.Key(), row) {
			break
		}
	}
	r.noteError(it.Close())
}

// transaction is the work of one Apply: reads that see its own writes, writes that go into the digest, events to tell.
type transaction struct {
	tableReader
	batch        *pebble.Batch
	position     Position
	highestLevel uint32 // level of an entry that is applied
	policies     *policyCache

	// Of the entry and command at hand.
	index, term uint64
	token       lock.Token
	writes      *xxhash.Digest
	events      []Event

	sweptRanges [][2][]byte // ranges that the batch deletes last
}

const (
	opPut    = 1
	opDelete = 2
	opRange  = 3
)

func (t *transaction) putRow(key, row []byte) {
	t.foldWrite(opPut, key, row)
	t.rows.storeRow(key, row)
	t.noteError(t.batch.Set(key, row, nil))
}

func (t *transaction) deleteRow(key []byte) {
	t.foldWrite(opDelete, key, nil)
	t.rows.storeRow(key, nil)
	t.noteError(t.batch.Delete(key, nil))
}

// deletePrefix deletes every row whose key begins with prefix.
func (t *transaction) deletePrefix(prefix []byte) { t.deleteRange(prefix, keyAfterPrefix(prefix)) }

// deleteRange deletes every row in [from, to).
func (t *transaction) deleteRange(from, to []byte) {
	t.foldWrite(opRange, from, to)
	t.rows.forgetRange(from, to)
	t.noteError(t.batch.DeleteRange(from, to, nil))
}

// sweepPrefix is deleteAll of rows that no command asks for any more, and that none writes again. Pebble reads slower with each
// range that a batch has deleted, so that a thousand game servers that end together would stop apply for seconds.
func (t *transaction) sweepPrefix(prefix []byte) {
	to := keyAfterPrefix(prefix)
	t.foldWrite(opRange, prefix, to)
	t.sweptRanges = append(t.sweptRanges, [2][]byte{prefix, to})
}

// finishSweep is for when nothing is read from the batch any more.
func (t *transaction) finishSweep() {
	for _, r := range t.sweptRanges {
		t.noteError(t.batch.DeleteRange(r[0], r[1], nil))
	}
}

func (t *transaction) foldWrite(op byte, key, row []byte) {
	var head [17]byte
	w := rowWriter(head[:0])
	w = append(w, op)
	w.writeFixed(uint64(len(key)))
	w.writeFixed(uint64(len(row)))
	_, _ = t.writes.Write(w)
	_, _ = t.writes.Write(key)
	_, _ = t.writes.Write(row)
}

func (t *transaction) addEvent(e Event) { t.events = append(t.events, e) }
