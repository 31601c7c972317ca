// Package raftlog is all that raft keeps on a node's disk besides snapshots: its log, on Pebble (store.go, entry.go,
// size_marks.go), and its term and vote, in raft-boltdb (votes.go; memory_votes.go in tests' virtual disks). storage.go opens
// both and checks that they fit each other. guarded_log.go stands between raft and the log: raft learns of no fault of the disk
// before this node has stopped, and the log is made to fit a snapshot that was installed.
package raftlog

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	boltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Storage is raft's log, in a Store, and its term and vote.
type Storage struct {
	Log         *GuardedLog
	Votes       raft.StableStore
	guard       *shutdownGuard
	closeStores func() error
}

// votesStore keeps raft's term and vote.
type votesStore interface {
	raft.StableStore
	Close() error
}

// Open opens both in the folder f, or keeps all in memory where f keeps nothing. stop returns the function that is told of
// the faults of one part, log or votes, before raft learns of them.
func Open(f *datafolder.Folder, log *slog.Logger, stop func(part string) func(error)) (*Storage, error) {
	if f.FS == nil {
		memory := raft.NewInmemStore()
		return &Storage{Log: &GuardedLog{LogStore: memory, onFault: stop("log")}, Votes: memory, guard: &shutdownGuard{}, closeStores: func() error { return nil }}, nil
	}
	votes, err := openVotes(f)
	if err != nil {
		return nil, err
	}
	s, err := openLog(f, votes, log, stop)
	if err != nil {
		return nil, errors.Join(err, votes.Close())
	}
	return s, nil
}

func openVotes(f *datafolder.Folder) (votesStore, error) {
	path := f.PathOf(datafolder.VotesFile)
	if f.Dir == "" {
		votes, err := openMemoryVotes(f.FS, path)
		return votes, disk.AsDamage(path, err)
	}
	return openBoltVotes(path, f.Identity.Member)
}

// openLog opens the log beside the votes, which must fit it.
func openLog(f *datafolder.Folder, votes votesStore, log *slog.Logger, stop func(part string) func(error)) (*Storage, error) {
	votesPath, path := f.PathOf(datafolder.VotesFile), f.PathOf(datafolder.LogFolder)
	if err := disk.SyncFolder(f.FS, f.FS.PathDir(votesPath)); err != nil {
		return nil, fmt.Errorf("open %s: %w", votesPath, err)
	}
	entries, err := openStore(f.FS, path, f.Identity.Member, log, stop("log"))
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil, datafolder.NewMissingPartError(f.Dir, "its log in "+datafolder.LogFolder+" is missing")
	}
	if err != nil {
		return nil, disk.AsDamage(path, fmt.Errorf("open log: %w", err))
	}
	guard := &shutdownGuard{}
	s := &Storage{
		Log:         &GuardedLog{LogStore: entries, onFault: stop("log"), path: path, guard: guard},
		Votes:       guardedVotes{votes, stop("votes"), guard},
		guard:       guard,
		closeStores: func() error { return errors.Join(entries.Close(), votes.Close()) },
	}
	if err := s.checkVotesFit(f); err != nil {
		return nil, errors.Join(err, entries.Close())
	}
	return s, nil
}

// MarkRaftRunning is for once raft has started: from then on a fault ends raft's goroutine that meets it.
func (s *Storage) MarkRaftRunning() { s.guard.raftRuns.Store(true) }

// Close closes log and votes.
func (s *Storage) Close() error { return s.closeStores() }

// checkVotesFit refuses votes that are older than the log: raft writes a term down before it takes an entry of it.
func (s *Storage) checkVotesFit(f *datafolder.Folder) error {
	last, err := s.Log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	var l raft.Log
	if err := s.Log.GetLog(last, &l); err != nil {
		return err
	}
	term, err := s.Votes.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, boltdb.ErrKeyNotFound) && !errors.Is(err, errNotFound) {
		return fmt.Errorf("read term: %w", err)
	}
	if term < l.Term {
		return datafolder.NewMissingPartError(f.Dir, fmt.Sprintf("its votes in %s are of term %d and its log is of term %d", datafolder.VotesFile, term, l.Term))
	}
	return nil
}

// FinishFounding is for a founding that a crash has cut in two: raft writes its first term down, then the configuration,
// and with the term alone it refuses to do so again. Whoever founds has not run raft before.
func (s *Storage) FinishFounding(first raft.Configuration) error {
	last, err := s.Log.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	term, err := s.Votes.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return fmt.Errorf("read term: %w", err)
	}
	return s.Log.StoreLog(&raft.Log{Index: 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(first)})
}
