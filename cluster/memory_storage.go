package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"maps"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// A node in memory that was given a file system keeps on it all that another keeps in its data folder, so that it can come
// back: node.json, the log, the tables, and the votes in a file of their own.

const maxVotesBytes = 1 << 20

// openMemoryStorage is openStorage for a file system that outlives the node.
func openMemoryStorage(f *datafolder.Folder, log *slog.Logger, stop func(error)) (*raftStorage, error) {
	votes, err := openMemoryVotes(f.FS)
	if err != nil {
		return nil, disk.AsDamage(datafolder.VotesFile, fmt.Errorf("open votes: %w", err))
	}
	entries, err := openLogStore(f.FS, datafolder.LogFolder, f.Identity.Member, log, failIn("log", stop))
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil, datafolder.NewMissingPartError(f.Dir, "its log in "+datafolder.LogFolder+" is missing")
	}
	if err != nil {
		return nil, disk.AsDamage(datafolder.LogFolder, fmt.Errorf("open log: %w", err))
	}
	q := &shutdownGuard{}
	s := &raftStorage{log: &guardedLog{LogStore: entries, onFault: failIn("log", stop), path: datafolder.LogFolder, guard: q}, stable: guardedStable{votes, failIn("votes", stop), q}, guard: q, closeStores: entries.Close}
	if err := s.checkVotesFit(f); err != nil {
		return nil, errors.Join(err, entries.Close())
	}
	return s, nil
}

// memoryVotes keep raft's term and vote in one small file, which each change replaces whole.
type memoryVotes struct {
	fs      vfs.FS
	writing chan struct{} // full while a change is on its way: the disk may be slow, and a mutex stops virtual time

	mu     sync.Mutex
	values map[string][]byte
}

var _ raft.StableStore = (*memoryVotes)(nil)

func openMemoryVotes(fs vfs.FS) (*memoryVotes, error) {
	v := &memoryVotes{fs: fs, writing: make(chan struct{}, 1), values: map[string][]byte{}}
	text, err := disk.ReadFile(fs, datafolder.VotesFile, maxVotesBytes)
	if errors.Is(err, iofs.ErrNotExist) {
		return v, disk.WriteFile(fs, datafolder.VotesFile, []byte("{}")) // from here on a missing file has forgotten votes
	}
	if err == nil {
		err = json.Unmarshal(text, &v.values)
	}
	return v, err
}

// Set returns once the disk has it. Raft may set the term for a heartbeat beside the one for a vote.
func (v *memoryVotes) Set(key, value []byte) error {
	v.writing <- struct{}{}
	defer func() { <-v.writing }()
	v.mu.Lock()
	next := maps.Clone(v.values)
	v.mu.Unlock()
	next[string(key)] = append([]byte(nil), value...)
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := disk.WriteFile(v.fs, datafolder.VotesFile, text); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values = next
	return nil
}

// errNotFound has the text by which raft knows it.
var errNotFound = errors.New("not found")

// Get knows a missing key by its error alone.
func (v *memoryVotes) Get(key []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	value, ok := v.values[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return value, nil
}

func (v *memoryVotes) SetUint64(key []byte, value uint64) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return v.Set(key, text)
}

func (v *memoryVotes) GetUint64(key []byte) (value uint64, err error) {
	text, err := v.Get(key)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	return value, err
}
