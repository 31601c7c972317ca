package raftlog

import (
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Every error of the log store except "not found" stops the node before raft gets it.
func TestABrokenLogStopsTheNode(t *testing.T) {
	var faults []error
	broken := &brokenStore{InmemStore: raft.NewInmemStore()}
	g := &GuardedLog{LogStore: broken, onFault: func(err error) { faults = append(faults, err) }}
	for i := range uint64(1000) {
		if err := g.StoreLog(&raft.Log{Index: i + 1, Data: []byte("12345")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.GetLog(2000, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) || len(faults) > 0 {
		t.Errorf("an entry that does not exist: %v, and the node was stopped by %v", err, faults)
	}
	if got := g.WrittenBytes.Load(); got != 5000 {
		t.Errorf("%d bytes written, want 5000", got)
	}
	broken.err = errors.New("disk is gone")
	g.StoreLogs(nil)
	g.GetLog(1, &raft.Log{})
	g.DeleteRange(1, 1000)
	if len(faults) != 3 || !errors.Is(faults[0], disk.ErrFailed) {
		t.Errorf("stopped by %v, want three faults", faults)
	}
}

// brokenStore is a log store that returns err from every write and every read of an entry, unless err is nil.
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

// faultRecorder records the faults with which a node was stopped.
type faultRecorder struct {
	mu     sync.Mutex
	faults []error
}

func (f *faultRecorder) stop(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, err)
}

func (f *faultRecorder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.faults)
}
