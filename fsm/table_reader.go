package fsm

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// tableReader reads rows, in a batch or in a snapshot. It keeps the first error of the disk, so that the rules need no error
// checks: the caller that created the reader checks err once at the end.
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

// scanRows calls f for the rows in [from, to) in order until f returns false. The slices are valid during the call.
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
