package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// The log is cut by bytes, and entries differ in size by a factor of ten thousand. So that they need not be read to know how
// many bytes they are, every so often an entry has a mark: a row under its index that says how many bytes came before it
// since the log was last empty. Marks are written and deleted in the batches that write and delete their entries, so they
// are never of another log than the one they lie in.
//
//	m | index 8 -> bytes before 8
//
// The first entry always has one.
type sizeMark struct {
	index       uint64
	bytesBefore uint64 // bytes of values
}

const (
	markPrefix          = 'm'
	marksWanted         = 512     // about as many for the entries that stay behind a snapshot
	defaultMarkDistance = 1 << 20 // bytes from one to the next, unless grained says otherwise
)

func markKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{markPrefix}, index)
}

func (m sizeMark) writeTo(to *pebble.Batch) error {
	return to.Set(markKey(m.index), binary.BigEndian.AppendUint64(nil, m.bytesBefore), nil)
}

// deleteMarks deletes the marks of entries from to to.
func deleteMarks(batch *pebble.Batch, from, to uint64) error {
	return batch.DeleteRange(markKey(from), markKey(to+1), nil)
}

// setMarkDistance sets marks as far apart as it takes to keep the given number of bytes.
func (s *Store) setMarkDistance(keep uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markDistance = max(keep/marksWanted, 1)
}

// readMarks reads the marks, and sums the sizes of the entries behind the last one. A log without marks is summed whole.
func (s *Store) readMarks() error {
	s.marks, s.endBytes = nil, 0
	if s.last == 0 {
		return nil
	}
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: markKey(s.first), UpperBound: markKey(s.last + 1)})
	if err != nil {
		return err
	}
	for ok := rows.First(); ok; ok = rows.Next() {
		if len(rows.Key()) != 9 || len(rows.Value()) != 8 {
			return errors.Join(fmt.Errorf("row %x is no mark", rows.Key()), rows.Close())
		}
		s.marks = append(s.marks, sizeMark{binary.BigEndian.Uint64(rows.Key()[1:]), binary.BigEndian.Uint64(rows.Value())})
	}
	if err := errors.Join(rows.Error(), rows.Close()); err != nil {
		return err
	}
	if len(s.marks) == 0 || s.marks[0].index != s.first {
		s.marks = []sizeMark{{index: s.first}}
	}
	newest := s.marks[len(s.marks)-1]
	s.endBytes = newest.bytesBefore
	return s.visitEntrySizes(newest.index, s.last, func(index, bytes uint64) {
		if s.endBytes-s.marks[len(s.marks)-1].bytesBefore >= s.markDistance {
			s.marks = append(s.marks, sizeMark{index, s.endBytes})
		}
		s.endBytes += bytes
	})
}

// visitEntrySizes tells the size of each entry from one to another.
func (s *Store) visitEntrySizes(from, to uint64, tell func(index, bytes uint64)) error {
	entries, err := s.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(from), UpperBound: entryKey(to + 1)})
	if err != nil {
		return err
	}
	for ok := entries.First(); ok; ok = entries.Next() {
		index, err := entryIndex(entries.Key())
		if err != nil {
			return errors.Join(err, entries.Close())
		}
		tell(index, uint64(len(entries.Value())))
	}
	return errors.Join(entries.Error(), entries.Close())
}

// bytesBefore is how many bytes there are before an entry of the log, or before the one that will follow the last.
func (s *Store) bytesBefore(index uint64) (uint64, error) {
	s.mu.Lock()
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index > index })
	if i == 0 {
		s.mu.Unlock()
		return 0, fmt.Errorf("entry %d has no mark at or before it", index)
	}
	m := s.marks[i-1]
	s.mu.Unlock()
	bytes := m.bytesBefore
	if m.index == index {
		return bytes, nil
	}
	err := s.visitEntrySizes(m.index, index-1, func(_, size uint64) { bytes += size })
	return bytes, err
}

// markAppend adds to an append's batch the marks that it calls for. sizes are of its entries, from first on.
func (s *Store) markAppend(batch *pebble.Batch, first uint64, sizes []uint64) (marks []sizeMark, end uint64, err error) {
	s.mu.Lock()
	newest, fresh, grain := sizeMark{}, s.last == 0, s.markDistance
	if !fresh {
		newest, end = s.marks[len(s.marks)-1], s.endBytes
	}
	s.mu.Unlock()
	for i, size := range sizes {
		if fresh && i == 0 || end-newest.bytesBefore >= grain {
			newest = sizeMark{first + uint64(i), end}
			marks = append(marks, newest)
			err = errors.Join(err, newest.writeTo(batch))
		}
		end += size
	}
	return marks, end, err
}

// lastIndexToCut is the last entry up to which the log may be cut so that at least keep bytes stay; 0: none.
func (s *Store) lastIndexToCut(keep uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.marks), func(i int) bool { return s.endBytes-s.marks[i].bytesBefore < keep })
	if i == 0 {
		return 0
	}
	return s.marks[i-1].index - 1
}

// BytesAfter is about how many bytes of entries come after one, never less than there are.
func (s *Store) BytesAfter(index uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.marks) == 0 {
		return 0
	}
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index > index+1 })
	return s.endBytes - s.marks[max(i, 1)-1].bytesBefore
}
