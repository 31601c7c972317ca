package raftlog

import (
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Every error of the log store but "not found" reaches stop before it reaches raft.
func TestABrokenLogStopsTheNode(t *testing.T) {
	var told []error
	broken := &brokenStore{InmemStore: raft.NewInmemStore()}
	g := &GuardedLog{LogStore: broken, onFault: func(err error) { told = append(told, err) }}
	for i := range uint64(1000) {
		if err := g.StoreLog(&raft.Log{Index: i + 1, Data: []byte("12345")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.GetLog(2000, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) || len(told) > 0 {
		t.Errorf("not found: %v, told %v", err, told)
	}
	if got := g.WrittenBytes.Load(); got != 5000 {
		t.Errorf("%d bytes written, want 5000", got)
	}
	broken.err = errors.New("disk is gone")
	g.StoreLogs(nil)
	g.GetLog(1, &raft.Log{})
	g.DeleteRange(1, 1000)
	if len(told) != 3 || !errors.Is(told[0], disk.ErrFailed) {
		t.Errorf("stopped by %v, want three failures", told)
	}
}

type brokenStore struct {
	*raft.InmemStore
	err error
}

func (b *brokenStore) StoreLogs(logs []*raft.Log) error {
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.StoreLogs(logs)
}

func (b *brokenStore) GetLog(i uint64, l *raft.Log) error {
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.GetLog(i, l)
}

func (b *brokenStore) DeleteRange(first, last uint64) error {
	if b.err != nil {
		return b.err
	}
	return b.InmemStore.DeleteRange(first, last)
}

// toldFaults are those that a node was told of.
type toldFaults struct {
	mu   sync.Mutex
	told []error
}

func (f *toldFaults) stop(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, err)
}

func (f *toldFaults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.told)
}
