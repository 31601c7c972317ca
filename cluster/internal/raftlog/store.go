package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Store is raft's log on Pebble. Entries for which StoreLogs has returned nil outlive a crash; the log never has a hole.
//
// It tells raft nothing of IsMonotonic, although it takes no gaps: to a store that says so raft answers an installed
// snapshot by dropping the log, keeps the old last index in its own memory, and then refuses every append until a
// snapshot passes it. GuardedLog.FitToSnapshot makes the log fit a snapshot instead.
//
// Appends, cuts of the tail and of all come one at a time, as raft makes them; a cut of the head may come beside them,
// and is short: it waits for no disk.
type Store struct {
	db *pebble.DB

	watch *disk.Watch // of Pebble; each fault that it is told of leaves Pebble stuck

	// Full while an act writes, which may wait for the disk. Not a mutex: a goroutine that waits for one stops virtual time.
	writing chan struct{}

	mu           sync.Mutex
	first, last  uint64     // both 0: empty
	markDistance uint64     // bytes from one mark to the next
	marks        []sizeMark // of entries from first to last, in order
	endBytes     uint64     // bytes up to the last entry, as marks count them
}

var _ raft.LogStore = (*Store)(nil)

const (
	logMemTableBytes = 16 << 20 // bytes of entries in memory before they go to a table
	logCacheBytes    = 4 << 20  // bytes; entries are mostly read while they are in memory anyway
)

// openStore opens the log in dir. mustExist refuses to begin an empty one. fatal is told when the disk has failed in a
// way that leaves Pebble stuck; it must not wait.
func openStore(fs vfs.FS, dir string, mustExist bool, log *slog.Logger, fatal func(error)) (*Store, error) {
	s := &Store{watch: disk.NewWatch("log", log, fatal), writing: make(chan struct{}, 1), markDistance: defaultMarkDistance}
	cache := pebble.NewCache(logCacheBytes)
	defer cache.Unref()
	options := &pebble.Options{
		FS:                          disk.StopOnLogFault(disk.StopOnFolderFault(fs, s.watch.MarkStuck), s.watch.MarkStuck),
		Cache:                       cache,
		Logger:                      s.watch.Logger(),
		EventListener:               &pebble.EventListener{BackgroundError: s.reportFault, DataCorruption: s.reportDamage},
		FormatMajorVersion:          pebble.FormatNewest,
		ErrorIfNotExists:            mustExist,
		MemTableSize:                logMemTableBytes,
		MemTableStopWritesThreshold: 4,
		// Entries come in order, so tables of level 0 never overlap, and no read is slower for having many.
		L0StopWritesThreshold: 1000,
	}
	for i := range options.Levels {
		// Entries are soon deleted, and mostly compressed by the game already.
		options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	if !mustExist {
		if err := disk.MakeFolder(fs, dir); err != nil {
			return nil, err
		}
	}
	db, err := disk.RunUnlessFailed(s.watch, func() (*pebble.DB, error) { return pebble.Open(dir, options) })
	if err != nil {
		return nil, err
	}
	s.db = db
	if err := s.readBounds(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// readBounds finds where the log begins and ends, and that both ends can be read.
func (s *Store) readBounds() error {
	entries, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{entryPrefix}, UpperBound: entryEnd()})
	if err != nil {
		return err
	}
	if entries.First() {
		s.first, err = entryIndex(entries.Key())
	}
	if err == nil && entries.Last() {
		s.last, err = entryIndex(entries.Key())
	}
	if err := errors.Join(err, entries.Error(), entries.Close()); err != nil || s.last == 0 {
		return err
	}
	var l raft.Log
	return errors.Join(s.GetLog(s.first, &l), s.GetLog(s.last, &l), s.readMarks())
}

func (s *Store) IndexBounds() (first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.last
}

// FirstIndex is 0 for an empty log.
func (s *Store) FirstIndex() (uint64, error) {
	first, _ := s.IndexBounds()
	return first, nil
}

// LastIndex is 0 for an empty log.
func (s *Store) LastIndex() (uint64, error) {
	_, last := s.IndexBounds()
	return last, nil
}

// GetLog returns raft.ErrLogNotFound outside the log. An entry that is inside and cannot be read is another error.
func (s *Store) GetLog(index uint64, l *raft.Log) error {
	if first, last := s.IndexBounds(); index < first || index > last || last == 0 {
		return raft.ErrLogNotFound
	}
	value, closer, err := s.db.Get(entryKey(index))
	if errors.Is(err, pebble.ErrNotFound) {
		// A cut can be seen before it is on disk, and an append may follow it: the true state is known between two acts.
		s.writing <- struct{}{}
		defer func() { <-s.writing }()
		if first, last := s.IndexBounds(); index < first || index > last {
			return raft.ErrLogNotFound
		}
		value, closer, err = s.db.Get(entryKey(index))
	}
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("entry %d: %w", index, errEntryMissing)
	}
	if err != nil {
		return err
	}
	err = decodeEntry(value, index, l)
	if err := errors.Join(err, closer.Close()); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return nil
}

// StoreLog is StoreLogs of one.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries, all or none, and returns once they are on disk. The first must follow the last of the log;
// an empty log begins anywhere.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	_, last := s.IndexBounds()
	size, sizes := 0, make([]uint64, len(logs))
	for i, l := range logs {
		if want := logs[0].Index + uint64(i); l.Index != want || l.Index == 0 {
			return fmt.Errorf("append entries: number %d of them is entry %d, want %d", i, l.Index, want)
		}
		sizes[i] = uint64(entrySize(l))
		size += entrySize(l) + 32
	}
	if last != 0 && logs[0].Index != last+1 {
		return fmt.Errorf("append entry %d: the log ends at %d, and would have a hole", logs[0].Index, last)
	}
	batch := s.db.NewBatchWithSize(size)
	for _, l := range logs {
		entry := batch.SetDeferred(9, entrySize(l))
		copy(entry.Key, entryKey(l.Index))
		encodeEntry(entry.Value, l)
		if err := entry.Finish(); err != nil {
			return errors.Join(err, batch.Close())
		}
	}
	marks, end, err := s.markAppend(batch, logs[0].Index, sizes)
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := s.commitBatch(batch, pebble.Sync); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == 0 {
		s.first, s.marks = logs[0].Index, nil
	}
	s.last = logs[len(logs)-1].Index
	s.marks, s.endBytes = append(s.marks, marks...), end
	return nil
}

// DeleteRange cuts the head or the tail of the log, or all of it; anything else would leave a hole, and is an error.
// Whatever its length it is one small record. A cut of the head that a crash undoes does no harm, so only a cut that reaches
// the last entry waits for the disk.
func (s *Store) DeleteRange(from, to uint64) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	first, last := s.IndexBounds()
	from, to = max(from, first), min(to, last)
	if last == 0 || from > to {
		return nil
	}
	if from > first && to < last {
		return fmt.Errorf("cut entries %d to %d: the log holds %d to %d, and would have a hole", from, to, first, last)
	}
	if to < last {
		return s.deleteHead(from, to)
	}
	return s.deleteTail(from, to, from == first)
}

func (s *Store) deleteHead(from, to uint64) error {
	before, err := s.bytesBefore(to + 1)
	if err != nil {
		return err
	}
	next, batch := sizeMark{to + 1, before}, s.db.NewBatch()
	if err := errors.Join(batch.DeleteRange(entryKey(from), entryKey(to+1), nil), deleteMarks(batch, 0, to), next.writeTo(batch)); err != nil {
		return errors.Join(err, batch.Close())
	}
	// Set before the deletion: no reader finds an entry gone between the two.
	s.mu.Lock()
	s.first = to + 1
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index > next.index })
	s.marks = append([]sizeMark{next}, s.marks[i:]...)
	s.mu.Unlock()
	return s.commitBatch(batch, pebble.NoSync)
}

func (s *Store) deleteTail(from, to uint64, whole bool) error {
	before, err := s.bytesBefore(from)
	if err != nil {
		return err
	}
	batch := s.db.NewBatch()
	if err := errors.Join(batch.DeleteRange(entryKey(from), entryKey(to+1), nil), deleteMarks(batch, from, to)); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := s.commitBatch(batch, pebble.Sync); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = s.marks[:sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index >= from })]
	if s.last, s.endBytes = from-1, before; whole {
		s.first, s.last, s.endBytes, s.marks = 0, 0, 0, nil
	}
	return nil
}

// Close lets go of the log. A broken one is left as it lies: Pebble would never answer.
func (s *Store) Close() error {
	_, err := disk.RunUnlessFailed(s.watch, func() (struct{}, error) { return struct{}{}, s.db.Close() })
	return err
}

func (s *Store) commitBatch(batch *pebble.Batch, durable *pebble.WriteOptions) error {
	_, err := disk.RunUnlessFailed(s.watch, func() (struct{}, error) {
		return struct{}{}, errors.Join(batch.Commit(durable), batch.Close())
	})
	return err
}

// reportFault is a failure beside the appends, of a flush or a compaction. Pebble would try again at once without end, and
// say so each time, until it has no memory left for entries; then an append waits for it, and the node goes on leading.
func (s *Store) reportFault(err error) {
	s.watch.MarkStuck(err)
	select {}
}

// reportDamage is called where a read met a damaged table, with an error that the read returns too.
func (s *Store) reportDamage(damage pebble.DataCorruptionInfo) {
	s.watch.Report(disk.NewDamageError(damage.Path, damage.Details))
}
