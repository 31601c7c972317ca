package raftlog

import (
	"encoding/json"
	"errors"
	iofs "io/fs"
	"maps"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

const maxVotesBytes = 1 << 20 // greatest size of the file

// memoryVotes keeps raft's term and vote in one small file, which each change replaces. It is used on the file systems in
// memory of tests, which survive the stop of a node; bbolt needs a file of the operating system.
type memoryVotes struct {
	fs   vfs.FS
	path string

	// writing has capacity 1 and is full while a change is written. It is not a mutex, since a write may wait for a slow disk,
	// and virtual time (testing/synctest) does not advance while a goroutine waits for a mutex.
	writing chan struct{}

	mu     sync.Mutex
	values map[string][]byte
}

var _ raft.StableStore = (*memoryVotes)(nil)

func openMemoryVotes(fs vfs.FS, path string) (*memoryVotes, error) {
	v := &memoryVotes{fs: fs, path: path, writing: make(chan struct{}, 1), values: map[string][]byte{}}
	text, err := disk.ReadFile(fs, path, maxVotesBytes)
	if errors.Is(err, iofs.ErrNotExist) {
		return v, disk.WriteFile(fs, path, []byte("{}")) // from now on a missing file means lost votes
	}
	if err == nil {
		err = json.Unmarshal(text, &v.values)
	}
	return v, err
}

// Close does nothing: each change was synced before Set returned.
func (v *memoryVotes) Close() error { return nil }

// Set stores value under key and returns once it is synced. Calls may come concurrently: raft handles heartbeats, which may
// raise the term, in a goroutine of the transport, beside the votes in its main loop.
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
	if err := disk.WriteFile(v.fs, v.path, text); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values = next
	return nil
}

// errNotFound says that a key is missing. Raft recognizes this error by its text.
var errNotFound = errors.New("not found")

// Get returns the value under key, or errNotFound.
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
