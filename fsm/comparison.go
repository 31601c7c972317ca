package fsm

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// ComparedRange is a range of rows that every node reads at the same entry of the log, so that the leader can compare their
// checksums. The digest shows that the nodes wrote the same; this shows that they still hold it.
type ComparedRange struct {
	From, To []byte // keys: at least From, below To; an empty To is after the last row
	View     *View  // the tables after the entry, whose index is in its position
}

// Comparison is how far the comparison of the rows has come.
type Comparison struct {
	Next      []byte // the key at which the next range begins; empty: a new pass begins
	StartedMS int64  // timestamp of the first range of this pass, or of the last one if a new one begins
}

// comparisonTable holds the one row of the comparison, so that the next leader goes on where this one was.
type comparisonTable struct {
	*tableWriter
	due *CompareRange // of the entry at hand
}

func (t *comparisonTable) compareRange(c *CompareRange) Result {
	at := t.readComparison()
	if !bytes.Equal(c.From, at.Next) || t.due != nil {
		return Result{Code: Superseded} // another leader has compared that range
	}
	if len(c.To) > maxRowKey || len(c.To) > 0 && bytes.Compare(c.From, c.To) >= 0 {
		return Result{Code: Invalid}
	}
	if len(c.From) == 0 {
		at.StartedMS = t.position.StampMS
	}
	w := newRowWriter(len(c.To) + 16)
	w.writeBytes(c.To)
	w.writeInt(at.StartedMS)
	t.putRow([]byte{tableComparison}, w)
	t.due = c
	return Result{}
}

func (r *tableReader) readComparison() Comparison {
	row, ok := r.getRow([]byte{tableComparison})
	if !ok {
		return Comparison{}
	}
	f := newRowReader(row)
	at := Comparison{Next: bytes.Clone(f.readBytes()), StartedMS: f.readInt()}
	r.noteError(f.finishRow(tableComparison))
	return at
}

// Comparison returns how far the comparison of the rows has come.
func (v *View) Comparison() (Comparison, error) {
	r := v.tableReader()
	return r.readComparison(), r.err
}

// FindRangeEnd returns the key at which a range ends that begins at from and holds about that many bytes; nil: after the last row.
func (v *View) FindRangeEnd(from []byte, size int) (to []byte, err error) {
	r := v.tableReader()
	r.scanRows(firstKey(from), nil, func(key, row []byte) bool {
		if size <= 0 {
			to = bytes.Clone(key)
			return false
		}
		size -= len(key) + len(row)
		return true
	})
	return to, r.err
}

// SumRange returns the XXH64 of the rows from one key to below another, with their keys. It calls pause after each piece of about
// that many bytes, and ends with its error.
func (v *View) SumRange(from, to []byte, piece int, pause func() error) (uint64, error) {
	sum, read := xxhash.New(), 0
	if len(to) == 0 {
		to = nil
	}
	r := v.tableReader()
	r.scanRows(firstKey(from), to, func(key, row []byte) bool {
		var sizes [16]byte
		binary.BigEndian.PutUint64(sizes[:8], uint64(len(key)))
		binary.BigEndian.PutUint64(sizes[8:], uint64(len(row)))
		_, _ = sum.Write(sizes[:])
		_, _ = sum.Write(key)
		_, _ = sum.Write(row)
		if read += len(key) + len(row); read >= piece {
			read = 0
			r.noteError(pause())
		}
		return r.err == nil
	})
	return sum.Sum64(), r.err
}

// firstKey returns the key of a range's first row.
func firstKey(from []byte) []byte {
	if len(from) == 0 {
		return []byte{0}
	}
	return from
}
