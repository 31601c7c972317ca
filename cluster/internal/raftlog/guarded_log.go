package raftlog

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// GuardedLog lets raft see no error but "not found": a follower that cannot read its own log makes the leader walk back
// and install an older snapshot over entries that this follower has acknowledged. stop cuts this node off from the
// others before the error goes on, so that no answer made of it leaves.
type GuardedLog struct {
	raft.LogStore
	onFault      func(error)
	path         string         // of the log's folder, for errors
	guard        *shutdownGuard // nil: errors go on to the caller
	keepBytes    uint64         // bytes of entries that stay when raft cuts the head; its own TrailingLogs counts them
	WrittenBytes atomic.Uint64  // bytes of data stored since the snapshot that was the newest at the start
	baseEntry    atomic.Pointer[entryLabel]
	ReadPace     *ReadPace // nil: none
}

// entryLabel identifies a snapshot: the last entry in it, and that entry's term.
type entryLabel struct{ index, term uint64 }

func (g *GuardedLog) wrapError(act string, err error) error {
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
	return i, g.wrapError("read first index of log", err)
}

func (g *GuardedLog) LastIndex() (uint64, error) {
	i, err := g.LogStore.LastIndex()
	return i, g.wrapError("read last index of log", err)
}

// GetLog knows the term of the last entry of the snapshot that FitToSnapshot was told of, also where the log does not hold that entry.
func (g *GuardedLog) GetLog(index uint64, log *raft.Log) error {
	if entries, ok := g.LogStore.(*Store); ok && g.ReadPace != nil {
		g.ReadPace.waitForTables(entries, index)
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

func (g *GuardedLog) StoreLog(log *raft.Log) error { return g.StoreLogs([]*raft.Log{log}) }

func (g *GuardedLog) StoreLogs(logs []*raft.Log) error {
	if err := g.wrapError("write log", g.LogStore.StoreLogs(logs)); err != nil {
		return err
	}
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	g.WrittenBytes.Add(uint64(size))
	return nil
}

// DeleteRange is for raft. After a snapshot it cuts the head, and knows no bytes: of that as much is left undone as must
// stay. Whatever reaches the end of the log is carried out.
func (g *GuardedLog) DeleteRange(first, last uint64) error {
	if entries, ok := g.LogStore.(*Store); ok && g.keepBytes > 0 {
		if _, end := entries.IndexBounds(); last < end {
			last = min(last, entries.lastIndexToCut(g.keepBytes))
		}
	}
	return g.deleteRange(first, last)
}

func (g *GuardedLog) deleteRange(first, last uint64) error {
	return g.wrapError("cut log", g.LogStore.DeleteRange(first, last))
}

// SetTrailingBytes says how many bytes stay, and counts entries that no snapshot holds yet as written.
func (g *GuardedLog) SetTrailingBytes(keep uint64, snapshot uint64) {
	g.keepBytes = keep
	if entries, ok := g.LogStore.(*Store); ok {
		entries.setMarkDistance(keep)
		g.WrittenBytes.Store(entries.BytesAfter(snapshot))
	}
}

// FitToSnapshot makes the log fit the snapshot that this node has just restored: nothing of it may contradict the
// snapshot, and the next entry must be able to follow. It is called where raft waits, before raft runs (running false) or in
// Restore.
//
//   - A log that ends before the snapshot is dropped whole: the next append comes behind the snapshot.
//   - A log that holds another entry where the snapshot ends comes from a leader that was deposed. Everything up to there
//     goes, or this node would hand those entries on as committed once it leads. Earlier entries stay, since raft
//     remembers that it is there: its next append replaces it. For that, GetLog knows the snapshot's last term.
//   - Raft remembers the last entry's term too. If the snapshot ends just there and the terms differ, nothing that a log
//     answers changes raft's mind, only a new start does.
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

// guardedVotes is the same for term and vote. A missing key is no error of the disk.
type guardedVotes struct {
	raft.StableStore
	onFault func(error)
	guard   *shutdownGuard
}

func (g guardedVotes) Set(key, value []byte) error {
	err := g.StableStore.Set(key, value)
	if err != nil {
		g.onFault(fmt.Errorf("%w: write vote: %w", disk.ErrFailed, err))
	}
	return err
}

func (g guardedVotes) SetUint64(key []byte, value uint64) error {
	err := g.StableStore.SetUint64(key, value)
	if err != nil {
		g.onFault(fmt.Errorf("%w: write term: %w", disk.ErrFailed, err))
		g.guard.exitGoroutine()
	}
	return err
}
