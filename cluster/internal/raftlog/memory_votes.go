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

const maxVotesBytes = 1 << 20 // of the file

// memoryVotes keep raft's term and vote in one small file, which each change replaces whole, on a file system in memory that
// outlives the node.
type memoryVotes struct {
	fs      vfs.FS
	path    string
	writing chan struct{} // full while a change is on its way: the disk may be slow, and a mutex stops virtual time

	mu     sync.Mutex
	values map[string][]byte
}

var _ raft.StableStore = (*memoryVotes)(nil)

func openMemoryVotes(fs vfs.FS, path string) (*memoryVotes, error) {
	v := &memoryVotes{fs: fs, path: path, writing: make(chan struct{}, 1), values: map[string][]byte{}}
	text, err := disk.ReadFile(fs, path, maxVotesBytes)
	if errors.Is(err, iofs.ErrNotExist) {
		return v, disk.WriteFile(fs, path, []byte("{}")) // from here on a missing file has forgotten votes
	}
	if err == nil {
		err = json.Unmarshal(text, &v.values)
	}
	return v, err
}

// Close does nothing: each change is on the disk already.
func (v *memoryVotes) Close() error { return nil }

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
	if err := disk.WriteFile(v.fs, v.path, text); err != nil {
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
