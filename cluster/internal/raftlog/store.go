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

// Store is raft's log on Pebble. Entries for which StoreLogs has returned nil survive a crash, and the log never has a gap.
//
// It takes no gaps, yet it does not say so to raft (raft.MonotonicLogStore). After it has installed a snapshot, raft
// deletes the whole log of a store that says so, but keeps the old last index in its own memory, and then refuses every
// append until it gets a snapshot beyond that index. Instead, GuardedLog.FitToSnapshot makes the log fit a snapshot.
//
// All methods except Close may be called concurrently. Raft appends and cuts the tail in one goroutine, and cuts the head
// in another.
type Store struct {
	db    *pebble.DB
	watch *disk.Watch // ends the waits for Pebble after a fault; each fault that this store reports leaves Pebble stuck

	// writing has capacity 1 and is full during a write. It is not a mutex, since a write may wait for a slow disk, and
	// virtual time (testing/synctest) does not advance while a goroutine waits for a mutex.
	writing chan struct{}

	mu           sync.Mutex
	first, last  uint64     // indexes of the first and the last entry; both 0 if the log is empty
	markDistance uint64     // bytes of entries between two marks
	marks        []sizeMark // marks of the entries from first to last, in order
	endBytes     uint64     // bytes before the next entry to be appended, counted as in sizeMark
}

var _ raft.LogStore = (*Store)(nil)

const (
	logMemTableBytes = 16 << 20 // bytes of entries in memory before Pebble writes them to a table
	logCacheBytes    = 4 << 20  // bytes of Pebble's cache; entries are mostly read while they are still in memory
)

// openStore opens the log in dir. If there is none it makes an empty one, or returns pebble.ErrDBDoesNotExist if
// mustExist is set. format is that of Pebble's files, unless the log has a higher one already. fatal is called when the disk has failed; it may be called with Pebble's locks held and must not block.
func openStore(fs vfs.FS, dir string, mustExist bool, format pebble.FormatMajorVersion, log *slog.Logger, fatal func(error)) (*Store, error) {
	s := &Store{watch: disk.NewWatch("log", log, fatal), writing: make(chan struct{}, 1), markDistance: defaultMarkDistance}
	cache := pebble.NewCache(logCacheBytes)
	defer cache.Unref()
	options := &pebble.Options{
		FS:                          disk.StopOnLogFault(disk.StopOnFolderFault(fs, s.watch.MarkStuck), s.watch.MarkStuck),
		Cache:                       cache,
		Logger:                      s.watch.Logger(),
		EventListener:               &pebble.EventListener{BackgroundError: s.reportFault, DataCorruption: s.reportDamage},
		FormatMajorVersion:          format,
		ErrorIfNotExists:            mustExist,
		MemTableSize:                logMemTableBytes,
		MemTableStopWritesThreshold: 4,
		// Entries are written in the order of their keys, so tables of level 0 do not overlap, and many do not slow reads down.
		L0StopWritesThreshold: 1000,
	}
	for i := range options.Levels {
		// Entries are deleted soon, and most data in them is compressed already.
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

// readBounds sets the bounds and the marks from the disk. It returns an error if the first or the last entry is damaged.
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

// IndexBounds returns the indexes of the first and the last entry, both 0 for an empty log.
func (s *Store) IndexBounds() (first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.last
}

// FirstIndex returns the index of the first entry, 0 for an empty log.
func (s *Store) FirstIndex() (uint64, error) {
	first, _ := s.IndexBounds()
	return first, nil
}

// LastIndex returns the index of the last entry, 0 for an empty log.
func (s *Store) LastIndex() (uint64, error) {
	_, last := s.IndexBounds()
	return last, nil
}

// GetLog reads the entry at index into l. It returns raft.ErrLogNotFound if index is outside the log, and another error
// if it is inside and the entry cannot be read.
func (s *Store) GetLog(index uint64, l *raft.Log) error {
	if first, last := s.IndexBounds(); index < first || index > last || last == 0 {
		return raft.ErrLogNotFound
	}
	value, closer, err := s.db.Get(entryKey(index))
	if errors.Is(err, pebble.ErrNotFound) {
		// A cut of the tail is visible in Pebble before it is synced and the bounds change, and an append may follow it. Between
		// two writes bounds and entries agree, so look again then.
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

// StoreLog is StoreLogs with one entry.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends all entries or none, and returns once they are synced. Their indexes must follow each other and the
// last index of the log; an empty log may begin at any index.
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

// DeleteRange deletes the entries from from to to, inclusive: the head of the log, its tail, or all of it. A range that
// would leave a gap is an error; entries outside the log are ignored. The deletion is one small record, whatever its
// length. Only a cut that reaches the last entry is synced. One of the head need not be: a crash that undoes it does no
// harm.
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
	err = errors.Join(batch.DeleteRange(entryKey(from), entryKey(to+1), nil), deleteMarks(batch, 0, to), next.writeTo(batch))
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	// The bounds change before the entries are deleted, so that no reader misses an entry within the bounds.
	s.mu.Lock()
	s.first = to + 1
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index > next.index })
	s.marks = append([]sizeMark{next}, s.marks[i:]...)
	s.mu.Unlock()
	return s.commitBatch(batch, pebble.NoSync)
}

// deleteTail deletes the entries from from to to, the last one. whole says that from is the first one.
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

// Close closes the log. After a fault it returns the fault and leaves Pebble open: its Close might never return.
func (s *Store) Close() error {
	_, err := disk.RunUnlessFailed(s.watch, func() (struct{}, error) { return struct{}{}, s.db.Close() })
	return err
}

// commitBatch commits and closes batch. durable says whether it waits for the sync.
func (s *Store) commitBatch(batch *pebble.Batch, durable *pebble.WriteOptions) error {
	_, err := disk.RunUnlessFailed(s.watch, func() (struct{}, error) {
		return struct{}{}, errors.Join(batch.Commit(durable), batch.Close())
	})
	return err
}

// reportFault handles a failed flush or compaction, in Pebble's goroutine for it. It does not return. Otherwise Pebble
// would retry at once and without end, with a log line each time, until its memory for entries is full; then appends
// would wait, and a leader would stay the leader without being able to write.
func (s *Store) reportFault(err error) {
	s.watch.MarkStuck(err)
	select {}
}

// reportDamage handles a damaged table that a read has met. The read returns the error as well.
func (s *Store) reportDamage(damage pebble.DataCorruptionInfo) {
	s.watch.Report(disk.NewDamageError(damage.Path, damage.Details))
}
