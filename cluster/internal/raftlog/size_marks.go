package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// sizeMark says how many bytes of entries precede one entry, counted since the log was last empty.
//
// The log is cut by bytes, but entries differ in size by a factor of ten thousand, so a number of entries says little
// about their bytes, and to sum their sizes would mean to read hundreds of MiB. Therefore about every markDistance bytes
// an entry gets a mark. The bytes between two marks are the difference of their counts; between other entries they are
// known to about one mark distance, which is enough to decide where to cut. All marks are in memory (Store.marks), and
// each is a row:
//
//	key: markPrefix | index 8    value: bytes before 8    (numbers big-endian)
//
// Invariants: a log that is not empty has a mark at its first entry. A mark is written and deleted in the same batch as its
// entry, so after a crash too there are no marks of deleted entries. Only differences count, so a cut of the head need not
// correct the marks that remain; it adds one for the new first entry.
type sizeMark struct {
	index       uint64
	bytesBefore uint64 // sum of the sizes of the encoded entries before index
}

const (
	markPrefix          = 'm'
	marksWanted         = 512     // about how many marks the entries that remain after a cut have
	defaultMarkDistance = 1 << 20 // bytes between two marks until setMarkDistance is called
)

func markKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{markPrefix}, index)
}

func (m sizeMark) writeTo(to *pebble.Batch) error {
	return to.Set(markKey(m.index), binary.BigEndian.AppendUint64(nil, m.bytesBefore), nil)
}

// deleteMarks adds to batch the deletion of all marks at the indexes from to to, inclusive.
func deleteMarks(batch *pebble.Batch, from, to uint64) error {
	return batch.DeleteRange(markKey(from), markKey(to+1), nil)
}

// setMarkDistance sets the distance of future marks for a log of which keep bytes remain after a cut.
func (s *Store) setMarkDistance(keep uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markDistance = max(keep/marksWanted, 1)
}

// readMarks reads the marks at the start. It sums the sizes of the entries from the last mark on, to set endBytes and to
// add marks that are missing there; of a log without marks it reads every entry.
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

// visitEntrySizes calls visit for each entry from from to to, inclusive, in order. bytes is the size of the encoded entry.
func (s *Store) visitEntrySizes(from, to uint64, visit func(index, bytes uint64)) error {
	entries, err := s.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(from), UpperBound: entryKey(to + 1)})
	if err != nil {
		return err
	}
	for ok := entries.First(); ok; ok = entries.Next() {
		index, err := entryIndex(entries.Key())
		if err != nil {
			return errors.Join(err, entries.Close())
		}
		visit(index, uint64(len(entries.Value())))
	}
	return errors.Join(entries.Error(), entries.Close())
}

// bytesBefore returns the exact count that a mark at index would have. index is an entry of the log, or the next one to be
// appended. It reads the entries between the nearest mark before index and index.
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

// markAppend adds the marks of an append to its batch. sizes are the sizes of the appended entries, the first of which is
// at index first. It returns the new marks and the new endBytes, which the caller stores once the batch is committed.
func (s *Store) markAppend(batch *pebble.Batch, first uint64, sizes []uint64) (marks []sizeMark, end uint64, err error) {
	s.mu.Lock()
	newest, empty, distance := sizeMark{}, s.last == 0, s.markDistance
	if !empty {
		newest, end = s.marks[len(s.marks)-1], s.endBytes
	}
	s.mu.Unlock()
	for i, size := range sizes {
		if empty && i == 0 || end-newest.bytesBefore >= distance {
			newest = sizeMark{first + uint64(i), end}
			marks = append(marks, newest)
			err = errors.Join(err, newest.writeTo(batch))
		}
		end += size
	}
	return marks, end, err
}

// lastIndexToCut returns the last index up to which the log may be cut so that at least keep bytes remain, or 0 if
// nothing may be cut. It considers cuts before a mark only, so up to a mark distance and one entry more than necessary
// remain.
func (s *Store) lastIndexToCut(keep uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.marks), func(i int) bool { return s.endBytes-s.marks[i].bytesBefore < keep })
	if i == 0 {
		return 0
	}
	return s.marks[i-1].index - 1
}

// BytesAfter returns about how many bytes of entries follow index. It is never less than the true number, and more by at
// most a mark distance and two entries.
func (s *Store) BytesAfter(index uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.marks) == 0 {
		return 0
	}
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index > index+1 })
	return s.endBytes - s.marks[max(i, 1)-1].bytesBefore
}
