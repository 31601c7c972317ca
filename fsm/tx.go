package fsm

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/profilenode/profilenode/lock"
)

// reader reads rows, inside a batch or at a snapshot. It remembers the first error of the disk, so that the rules read
// like rules; whoever began the work checks err once.
type reader struct {
	from pebble.Reader
	rows *rowCache // nil: none
	err  error
}

func (r *reader) check(err error) {
	if r.err == nil {
		r.err = err
	}
}

// get returns a row, which must not be changed.
func (r *reader) get(key []byte) ([]byte, bool) {
	if r.err != nil {
		return nil, false
	}
	if row, known := r.rows.get(key); known {
		return row, row != nil
	}
	value, closer, err := r.from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		r.rows.set(key, nil)
		return nil, false
	}
	if err != nil {
		r.check(fmt.Errorf("read table %q: %w", key[0], err))
		return nil, false
	}
	row := append([]byte{}, value...)
	r.rows.set(key, row)
	r.check(closer.Close())
	return row, true
}

func (r *reader) has(key []byte) bool {
	_, ok := r.get(key)
	return ok
}

// scan walks the rows in [from, to) in order until f says stop. The slices are valid during the call.
func (r *reader) scan(from, to []byte, f func(key, row []byte) bool) {
	if r.err != nil {
		return
	}
	it, err := r.from.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		r.check(fmt.Errorf("scan table %q: %w", from[0], err))
		return
	}
	for ok := it.First(); ok && r.err == nil; ok = it.Next() {
		row, err := it.ValueAndErr()
		if err != nil {
			r.check(fmt.Errorf("scan table %q: %w", from[0], err))
			break
		}
		if !f(it.Key(), row) {
			break
		}
	}
	r.check(it.Close())
}

// tx is the work of one Apply: reads that see its own writes, writes that go into the digest, events to tell.
type tx struct {
	reader
	batch    *pebble.Batch
	standing Standing
	highest  uint32 // level of an entry that is applied
	policies *policyCache

	// Of the entry and command at hand.
	index, term uint64
	at          lock.Token
	writes      *xxhash.Digest
	events      []Event

	swept [][2][]byte // ranges that the batch deletes last
}

const (
	opPut    = 1
	opDelete = 2
	opRange  = 3
)

func (t *tx) put(key, row []byte) {
	t.note(opPut, key, row)
	t.rows.set(key, row)
	t.check(t.batch.Set(key, row, nil))
}

func (t *tx) delete(key []byte) {
	t.note(opDelete, key, nil)
	t.rows.set(key, nil)
	t.check(t.batch.Delete(key, nil))
}

// deleteAll deletes every row whose key begins with prefix.
func (t *tx) deleteAll(prefix []byte) { t.deleteRange(prefix, after(prefix)) }

// deleteRange deletes every row in [from, to).
func (t *tx) deleteRange(from, to []byte) {
	t.note(opRange, from, to)
	t.rows.forgetRange(from, to)
	t.check(t.batch.DeleteRange(from, to, nil))
}

// sweep is deleteAll of rows that no command asks for any more, and that none writes again. Pebble reads slower with each
// range that a batch has deleted, so that a thousand game servers that end together would stop apply for seconds.
func (t *tx) sweep(prefix []byte) {
	to := after(prefix)
	t.note(opRange, prefix, to)
	t.swept = append(t.swept, [2][]byte{prefix, to})
}

// finishSweep is for when nothing is read from the batch any more.
func (t *tx) finishSweep() {
	for _, r := range t.swept {
		t.check(t.batch.DeleteRange(r[0], r[1], nil))
	}
}

func (t *tx) note(op byte, key, row []byte) {
	var head [17]byte
	w := rowWriter(head[:0])
	w = append(w, op)
	w.fixed(uint64(len(key)))
	w.fixed(uint64(len(row)))
	_, _ = t.writes.Write(w)
	_, _ = t.writes.Write(key)
	_, _ = t.writes.Write(row)
}

func (t *tx) tell(e Event) { t.events = append(t.events, e) }
