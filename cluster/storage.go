package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	boltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// votesLockTimeout bounds the wait for the lock of the file of votes.
const votesLockTimeout = 2 * time.Second

// raftStorage is raft's log, in a logStore, and its term and vote, in raft-boltdb.
type raftStorage struct {
	log         *guardedLog
	stable      raft.StableStore
	guard       *shutdownGuard
	closeStores func() error
}

// openStorage opens both in the folder, or keeps all in memory. stop is called before raft learns of an error.
func openStorage(f *datafolder.Folder, log *slog.Logger, stop func(error)) (*raftStorage, error) {
	if f.Dir == "" && f.FS != nil {
		return openMemoryStorage(f, log, stop)
	}
	if f.FS == nil {
		memory := raft.NewInmemStore()
		return &raftStorage{log: &guardedLog{LogStore: memory, onFault: stop}, stable: memory, guard: &shutdownGuard{}, closeStores: func() error { return nil }}, nil
	}
	bolt, err := openVotes(f.PathOf(datafolder.VotesFile), f.Identity.Member)
	if err != nil {
		return nil, err
	}
	s, err := openEntryLog(f, bolt, log, stop)
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return s, nil
}

// openEntryLog opens the log beside the votes, which must fit it.
func openEntryLog(f *datafolder.Folder, votes *boltdb.BoltStore, log *slog.Logger, stop func(error)) (*raftStorage, error) {
	if err := disk.SyncFolder(f.FS, f.Dir); err != nil {
		return nil, fmt.Errorf("open %s: %w", f.PathOf(datafolder.VotesFile), err)
	}
	entries, err := openLogStore(f.FS, f.PathOf(datafolder.LogFolder), f.Identity.Member, log, failIn("log", stop))
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil, datafolder.NewMissingPartError(f.Dir, "its log in "+datafolder.LogFolder+" is missing")
	}
	if err != nil {
		return nil, disk.AsDamage(f.PathOf(datafolder.LogFolder), fmt.Errorf("open log: %w", err))
	}
	q := &shutdownGuard{}
	s := &raftStorage{log: &guardedLog{LogStore: entries, onFault: failIn("log", stop), path: f.PathOf(datafolder.LogFolder), guard: q}, stable: guardedStable{votes, failIn("votes", stop), q}, guard: q}
	s.closeStores = func() error { return errors.Join(entries.Close(), votes.Close()) }
	if err := s.checkVotesFit(f); err != nil {
		return nil, errors.Join(err, entries.Close())
	}
	return s, nil
}

// checkVotesFit refuses votes that are older than the log: raft writes a term down before it takes an entry of it.
func (s *raftStorage) checkVotesFit(f *datafolder.Folder) error {
	last, err := s.log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	var l raft.Log
	if err := s.log.GetLog(last, &l); err != nil {
		return err
	}
	term, err := s.stable.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, boltdb.ErrKeyNotFound) && !errors.Is(err, errNotFound) {
		return fmt.Errorf("read term: %w", err)
	}
	if term < l.Term {
		return datafolder.NewMissingPartError(f.Dir, fmt.Sprintf("its votes in %s are of term %d and its log is of term %d", datafolder.VotesFile, term, l.Term))
	}
	return nil
}

// finishFounding is for a founding that a crash has cut in two: raft writes its first term down, then the configuration,
// and with the term alone it refuses to do so again. Whoever founds has not run raft before.
func (s *raftStorage) finishFounding(first raft.Configuration) error {
	last, err := s.log.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	term, err := s.stable.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return fmt.Errorf("read term: %w", err)
	}
	return s.log.StoreLog(&raft.Log{Index: 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(first)})
}

// guardedLog lets raft see no error but "not found": a follower that cannot read its own log makes the leader walk back
// and install an older snapshot over entries that this follower has acknowledged. stop cuts this node off from the
// others before the error goes on, so that no answer made of it leaves.
type guardedLog struct {
	raft.LogStore
	onFault      func(error)
	path         string         // of the log's folder, for errors
	guard        *shutdownGuard // nil: errors go on to the caller
	keepBytes    uint64         // bytes of entries that stay when raft cuts the head; its own TrailingLogs counts them
	writtenBytes atomic.Uint64  // bytes of data stored since the snapshot that was the newest at the start
	baseEntry    atomic.Pointer[entryLabel]
	readPace     *readPace // nil: none
}

// entryLabel identifies a snapshot: the last entry in it, and that entry's term.
type entryLabel struct{ index, term uint64 }

func (g *guardedLog) wrapError(act string, err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		if errors.Is(err, errEntryDamaged) || errors.Is(err, errEntryMissing) || pebble.IsCorruptionError(err) {
			err = disk.NewDamageError(g.path, err)
		}
		g.onFault(fmt.Errorf("%w: %s: %w", ErrFailed, act, err))
	}
	return err
}

func (g *guardedLog) FirstIndex() (uint64, error) {
	i, err := g.LogStore.FirstIndex()
	return i, g.wrapError("read first index of log", err)
}

func (g *guardedLog) LastIndex() (uint64, error) {
	i, err := g.LogStore.LastIndex()
	return i, g.wrapError("read last index of log", err)
}

// GetLog knows the term of the entry that standOn was told of, also where the log does not hold that entry.
func (g *guardedLog) GetLog(index uint64, log *raft.Log) error {
	if entries, ok := g.LogStore.(*logStore); ok && g.readPace != nil {
		g.readPace.waitForTables(entries, index)
	}
	err := g.LogStore.GetLog(index, log)
	if base := g.baseEntry.Load(); errors.Is(err, raft.ErrLogNotFound) && base != nil && base.index == index {
		*log = raft.Log{Index: base.index, Term: base.term, Type: raft.LogNoop}
		return nil
	}
	if err = g.wrapError(fmt.Sprintf("read entry %d", index), err); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		g.guard.exitGoroutine()
	}
	return err
}

func (g *guardedLog) StoreLog(log *raft.Log) error { return g.StoreLogs([]*raft.Log{log}) }

func (g *guardedLog) StoreLogs(logs []*raft.Log) error {
	if err := g.wrapError("write log", g.LogStore.StoreLogs(logs)); err != nil {
		return err
	}
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	g.writtenBytes.Add(uint64(size))
	return nil
}

// DeleteRange is for raft. After a snapshot it cuts the head, and knows no bytes: of that as much is left undone as must
// stay. Whatever reaches the end of the log is carried out.
func (g *guardedLog) DeleteRange(first, last uint64) error {
	if entries, ok := g.LogStore.(*logStore); ok && g.keepBytes > 0 {
		if _, end := entries.indexBounds(); last < end {
			last = min(last, entries.lastIndexToCut(g.keepBytes))
		}
	}
	return g.deleteRange(first, last)
}

func (g *guardedLog) deleteRange(first, last uint64) error {
	return g.wrapError("cut log", g.LogStore.DeleteRange(first, last))
}

// setTrailingBytes says how many bytes stay, and counts entries that no snapshot holds yet as written.
func (g *guardedLog) setTrailingBytes(keep uint64, snapshot uint64) {
	g.keepBytes = keep
	if entries, ok := g.LogStore.(*logStore); ok {
		entries.setMarkDistance(keep)
		g.writtenBytes.Store(entries.bytesAfter(snapshot))
	}
}

// fitToSnapshot makes the log fit the snapshot that this node has just restored: nothing of it may contradict the
// snapshot, and the next entry must be able to follow. It is called where raft waits, before raft runs (running false) or in
// Restore.
//
//   - A log that ends before the snapshot is dropped whole: the next append comes behind the snapshot.
//   - A log that holds another entry where the snapshot ends comes from a leader that was deposed. Everything up to there
//     goes, or this node would hand those entries on as committed once it leads. Earlier entries stay, since raft
//     remembers that it is there: its next append replaces it. For that, GetLog knows the snapshot's last term.
//   - Raft remembers the last entry's term too. If the snapshot ends just there and the terms differ, nothing that a log
//     answers changes raft's mind, only a new start does.
func (g *guardedLog) fitToSnapshot(index, term uint64, running bool) error {
	if base := g.baseEntry.Load(); base != nil && base.index > index {
		return fmt.Errorf("snapshot of entry %d: this log stands on one of entry %d", index, base.index)
	}
	first, err := g.FirstIndex()
	if err != nil {
		return err
	}
	last, err := g.LastIndex()
	if err != nil {
		return err
	}
	switch {
	case last == 0:
	case last < index:
		err = g.deleteRange(first, last)
	case first > index+1:
		err = g.wrapError("fit log to snapshot", disk.NewDamageError(g.path, fmt.Errorf("entries %d to %d are neither in it nor in a snapshot", index+1, first-1)))
	case first == index+1:
	default:
		var l raft.Log
		if err = g.GetLog(index, &l); err != nil || l.Term == term {
			break
		}
		if err = g.deleteRange(first, index); err == nil && last == index && running {
			err = g.wrapError("put log on snapshot", fmt.Errorf("the log ended where the snapshot does, in term %d and not %d: start this node again", l.Term, term))
		}
	}
	if err != nil {
		return err
	}
	g.baseEntry.Store(&entryLabel{index, term})
	return nil
}

// guardedStable is the same for term and vote. A missing key is no error of the disk.
type guardedStable struct {
	raft.StableStore
	onFault func(error)
	guard   *shutdownGuard
}

func (g guardedStable) Set(key, value []byte) error {
	err := g.StableStore.Set(key, value)
	if err != nil {
		g.onFault(fmt.Errorf("%w: write vote: %w", ErrFailed, err))
	}
	return err
}

func (g guardedStable) SetUint64(key []byte, value uint64) error {
	err := g.StableStore.SetUint64(key, value)
	if err != nil {
		g.onFault(fmt.Errorf("%w: write term: %w", ErrFailed, err))
		g.guard.exitGoroutine()
	}
	return err
}
