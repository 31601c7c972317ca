package raftlog

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// GuardedLog is the log store that raft uses. It stops this node at the first error of the log, except "not found",
// before raft learns of the error. Otherwise a follower that fails to read one entry would answer the leader as if it did
// not have that entry, and the leader would go back entry by entry until it installs an older snapshot, over entries that
// this follower has acknowledged. onFault cuts this node off from the others first, so no answer that depends on the
// error leaves.
//
// GuardedLog also cuts the log by bytes (DeleteRange), keeps raft from reading far ahead of the tables (ReadPace), and
// makes the log fit an installed snapshot (FitToSnapshot).
type GuardedLog struct {
	raft.LogStore
	onFault      func(error)                // stops this node
	operations   *disk.Operations           // notes appends; nil: they are not noted
	path         string                     // folder of the log, for errors
	guard        *shutdownGuard             // ends raft's goroutine after a failed read; nil: the read returns its error
	keepBytes    uint64                     // bytes of entries that remain when raft cuts the head; 0: no limit by bytes
	WrittenBytes atomic.Uint64              // bytes of entries stored since the newest snapshot of the start
	baseEntry    atomic.Pointer[entryLabel] // last entry of the snapshot that the log was made to fit; nil: none
	ReadPace     *ReadPace                  // delays reads that are too far ahead of the tables; nil: no delay
}

// entryLabel identifies the last entry that a snapshot covers.
type entryLabel struct{ index, term uint64 }

// stopOnError returns err, after it has stopped this node because of it. It does nothing if err is nil or "not found".
// act is the operation that failed.
func (g *GuardedLog) stopOnError(act string, err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		if errors.Is(err, errEntryDamaged) || errors.Is(err, errEntryMissing) || pebble.IsCorruptionError(err) {
			err = disk.NewDamageError(g.path, err)
		}
		g.onFault(fmt.Errorf("%w: %s: %w", disk.ErrFailed, act, err))
	}
	return err
}

func (g *GuardedLog) FirstIndex() (uint64, error) {
	i, err := g.LogStore.FirstIndex()
	return i, g.stopOnError("read first index of log", err)
}

func (g *GuardedLog) LastIndex() (uint64, error) {
	i, err := g.LogStore.LastIndex()
	return i, g.stopOnError("read last index of log", err)
}

// GetLog reads the entry at index. If the log does not hold the last entry of the snapshot that it was made to fit, it
// returns an entry without data in its place: raft needs its term to append the next one. While raft runs, a failed read
// does not return, see shutdownGuard.
func (g *GuardedLog) GetLog(index uint64, log *raft.Log) error {
	if entries, ok := g.LogStore.(*Store); ok && g.ReadPace != nil {
		g.ReadPace.waitForTables(entries, index)
	}
	err := g.LogStore.GetLog(index, log)
	if base := g.baseEntry.Load(); errors.Is(err, raft.ErrLogNotFound) && base != nil && base.index == index {
		*log = raft.Log{Index: base.index, Term: base.term, Type: raft.LogNoop}
		return nil
	}
	if err = g.stopOnError(fmt.Sprintf("read entry %d", index), err); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		g.guard.exitGoroutine()
	}
	return err
}

func (g *GuardedLog) StoreLog(log *raft.Log) error { return g.StoreLogs([]*raft.Log{log}) }

func (g *GuardedLog) StoreLogs(logs []*raft.Log) error {
	defer g.operations.Begin("append to the log")()
	if err := g.stopOnError("write log", g.LogStore.StoreLogs(logs)); err != nil {
		return err
	}
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	g.WrittenBytes.Add(uint64(size))
	return nil
}

// DeleteRange deletes the entries from first to last, inclusive, for raft. After a snapshot raft cuts the head of the
// log, by a number of entries (TrailingLogs). Such a cut is shortened so that at least keepBytes of entries remain. A cut
// that reaches the end of the log is never shortened: with it raft removes entries that contradict the leader's.
func (g *GuardedLog) DeleteRange(first, last uint64) error {
	if entries, ok := g.LogStore.(*Store); ok && g.keepBytes > 0 {
		if _, end := entries.IndexBounds(); last < end {
			last = min(last, entries.lastIndexToCut(g.keepBytes))
		}
	}
	return g.deleteRange(first, last)
}

// deleteRange is DeleteRange without the limit by bytes.
func (g *GuardedLog) deleteRange(first, last uint64) error {
	return g.stopOnError("cut log", g.LogStore.DeleteRange(first, last))
}

// SetTrailingBytes sets how many bytes of entries remain when raft cuts the head of the log. It also starts WrittenBytes
// at the size of the entries behind snapshot, the last index that the newest snapshot covers. It must be called before
// raft runs.
func (g *GuardedLog) SetTrailingBytes(keep uint64, snapshot uint64) {
	g.keepBytes = keep
	if entries, ok := g.LogStore.(*Store); ok {
		entries.setMarkDistance(keep)
		g.WrittenBytes.Store(entries.BytesAfter(snapshot))
	}
}

// FitToSnapshot makes the log fit the snapshot that this node has just restored. index and term are those of the last
// entry in it. Afterwards no entry of the log contradicts the snapshot, and the entry after the snapshot can be appended.
// Raft must not use the log meanwhile: the caller is either the start, before raft runs (running is false), or the FSM's
// Restore, for which raft waits (running is true). A snapshot that is older than that of an earlier call is an error. If
// the log cannot be made to fit, FitToSnapshot returns an error and stops this node.
//
// The cases:
//
//   - The log holds the snapshot's last entry, or begins right after it, or is empty: it fits.
//   - The log ends before the snapshot: it is deleted, since the next append follows the snapshot and Store takes no gaps.
//   - The log begins later than right after the snapshot: entries are missing between the two, and the node stops.
//   - At index the log holds an entry of another term. It comes from a deposed leader, and entries before it may as well.
//     All entries up to index are deleted; otherwise this node, once it leads, would send them to others as committed.
//     The entries after index stay although they are from that leader too. Raft has the last index of its log in memory
//     and cannot be told of another one; when it appends the new leader's entries, it finds the conflict and deletes the
//     old ones itself. It first compares the term at index, which is why GetLog returns one for a deleted entry.
//   - The same, and the log ends at index, while raft runs: raft has the wrong term of its last entry in memory, too, and
//     would refuse every append. The log is deleted, and the node stops; at its next start raft reads the right term.
//
// TestRaftAloneNeverGetsOverADivergentTail shows that raft alone does not get out of the last two cases.
func (g *GuardedLog) FitToSnapshot(index, term uint64, running bool) error {
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
		err = g.stopOnError("fit log to snapshot", disk.NewDamageError(g.path,
			fmt.Errorf("entries %d to %d are neither in it nor in a snapshot", index+1, first-1)))
	case first == index+1:
	default:
		var l raft.Log
		if err = g.GetLog(index, &l); err != nil || l.Term == term {
			break
		}
		if err = g.deleteRange(first, index); err == nil && last == index && running {
			err = g.stopOnError("put log on snapshot",
				fmt.Errorf("the log ended where the snapshot does, in term %d and not %d: start this node again", l.Term, term))
		}
	}
	if err != nil {
		return err
	}
	g.baseEntry.Store(&entryLabel{index, term})
	return nil
}

// guardedVotes is the store of term and vote that raft uses. It stops this node at the first failed write, before raft
// learns of the error. Failed reads only return their error: a missing key is normal, and after another error raft grants
// no vote.
type guardedVotes struct {
	raft.StableStore
	onFault func(error)    // stops this node
	guard   *shutdownGuard // ends raft's goroutine after a failed write of the term; nil: the write returns its error

	operations *disk.Operations // notes writes; nil: they are not noted
}

func (g guardedVotes) Set(key, value []byte) error {
	defer g.operations.Begin("write a vote")()
	err := g.StableStore.Set(key, value)
	if err != nil {
		g.onFault(fmt.Errorf("%w: write vote: %w", disk.ErrFailed, err))
	}
	return err
}

func (g guardedVotes) SetUint64(key []byte, value uint64) error {
	defer g.operations.Begin("write the term")()
	err := g.StableStore.SetUint64(key, value)
	if err != nil {
		g.onFault(fmt.Errorf("%w: write term: %w", disk.ErrFailed, err))
		g.guard.exitGoroutine()
	}
	return err
}
