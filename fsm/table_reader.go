package fsm

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
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
