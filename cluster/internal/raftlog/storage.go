// Package raftlog stores all that raft keeps on a node's disk except snapshots: its log, on Pebble (store.go, entry.go,
// size_marks.go), and its term and vote, in raft-boltdb (votes.go, or memory_votes.go on the file systems in memory of
// tests). storage.go opens both and checks that they fit each other. guarded_log.go is between raft and the log: it stops
// the node before raft learns of a fault of the disk, and makes the log fit an installed snapshot. read_pace.go bounds
// how far raft reads ahead of the tables, and shutdown_guard.go keeps raft from panicking at a failed disk.
//
// Its invariants: an entry, a term or a vote is acknowledged only once it is synced; the log has no gaps; no entry of it
// contradicts the snapshot that was restored last.
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

// Storage is raft's log and its term and vote.
type Storage struct {
	Log         *GuardedLog
	Votes       raft.StableStore // raft's term and vote
	guard       *shutdownGuard
	closeStores func() error
}

// votesStore keeps raft's term and vote.
type votesStore interface {
	raft.StableStore
	Close() error
}

// Open opens log and votes in the folder f, or keeps both in memory if f has no file system. format is that of the files of a new
// log, and an older log is raised to it. stop returns, for "log" and
// for "votes", the function that stops this node; it is called with a fault of that part before raft learns of it.
// Writes are noted in operations, which may be nil.
//
// It returns an error if a part is missing in the folder of a member, or if the votes are older than the log. A
// part with damaged content is a disk.DamageError.
func Open(
	f *datafolder.Folder, format pebble.FormatMajorVersion, log *slog.Logger, stop func(part string) func(error), operations *disk.Operations,
) (*Storage, error) {
	if f.FS == nil {
		memory := raft.NewInmemStore()
		return &Storage{
			Log:         &GuardedLog{LogStore: memory, onFault: stop("log")},
			Votes:       memory,
			guard:       &shutdownGuard{},
			closeStores: func() error { return nil },
		}, nil
	}
	votes, err := openVotes(f)
	if err != nil {
		return nil, err
	}
	s, err := openLog(f, votes, format, log, stop, operations)
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

// openLog opens the log, checks that votes fit it, and returns both as a Storage. It first syncs the name
// of the file of votes, which may be new.
func openLog(
	f *datafolder.Folder, votes votesStore, format pebble.FormatMajorVersion, log *slog.Logger, stop func(string) func(error),
	operations *disk.Operations,
) (*Storage, error) {
	votesPath, path := f.PathOf(datafolder.VotesFile), f.PathOf(datafolder.LogFolder)
	if err := disk.SyncFolder(f.FS, f.FS.PathDir(votesPath)); err != nil {
		return nil, fmt.Errorf("open %s: %w", votesPath, err)
	}
	entries, err := openStore(f.FS, path, f.Identity.Member, format, log, stop("log"))
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil, datafolder.NewMissingPartError(f.Dir, "its log in "+datafolder.LogFolder+" is missing")
	}
	if err != nil {
		return nil, disk.AsDamage(path, fmt.Errorf("open log: %w", err))
	}
	guard := &shutdownGuard{}
	s := &Storage{
		Log:         &GuardedLog{LogStore: entries, onFault: stop("log"), path: path, guard: guard, operations: operations},
		Votes:       guardedVotes{votes, stop("votes"), guard, operations},
		guard:       guard,
		closeStores: func() error { return errors.Join(entries.Close(), votes.Close()) },
	}
	if err := s.checkVotesFit(f); err != nil {
		return nil, errors.Join(err, entries.Close())
	}
	return s, nil
}

// MarkRaftRunning must be called once raft has started. From then on a fault of the disk ends the goroutine of raft that
// meets it, see shutdownGuard.
func (s *Storage) MarkRaftRunning() { s.guard.raftRuns.Store(true) }

// Close closes the log and the votes.
func (s *Storage) Close() error { return s.closeStores() }

// checkVotesFit returns an error if the stored term is lower than that of the last entry. Raft stores a term before it
// appends an entry of it, so the votes have been lost or replaced by older ones.
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
		return datafolder.NewMissingPartError(f.Dir,
			fmt.Sprintf("its votes in %s are of term %d and its log is of term %d", datafolder.VotesFile, term, l.Term))
	}
	return nil
}

// FinishFounding completes the founding of a cluster that a crash has interrupted. Raft stores its first term and then
// appends the first configuration; if it finds the term alone, it refuses to found. FinishFounding appends the
// configuration in its place, and does nothing if the log has entries. The caller must know that raft has never run in
// this folder, or a node that has lost its log would begin a second one.
func (s *Storage) FinishFounding(first raft.Configuration) error {
	last, err := s.Log.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	term, err := s.Votes.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return fmt.Errorf("read term: %w", err)
	}
	entry := &raft.Log{Index: 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(first)}
	return s.Log.StoreLog(entry)
}
