package cluster

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/hashicorp/raft"
	boltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// storage is raft's log, term and vote.
type storage struct {
	log    *guardedLog
	stable raft.StableStore
	close  func() error
}

// openStorage opens raft.db in the folder, or keeps all in memory. stop is called before raft learns of an error.
func openStorage(f *folder, stop func(error)) (*storage, error) {
	if f.dir == "" {
		memory := raft.NewInmemStore()
		return &storage{log: &guardedLog{LogStore: memory, stop: stop}, stable: memory, close: func() error { return nil }}, nil
	}
	bolt, err := boltdb.New(boltdb.Options{
		Path:                    f.path(fileLog),
		BoltOptions:             &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.path(fileLog), err)
	}
	if err := syncDir(f.dir); err != nil {
		bolt.Close()
		return nil, fmt.Errorf("open %s: %w", f.path(fileLog), err)
	}
	return &storage{log: &guardedLog{LogStore: bolt, stop: stop}, stable: guardedStable{bolt, stop}, close: bolt.Close}, nil
}

// bytes is the size of the log on disk.
func (f *folder) logBytes() uint64 {
	if f.dir == "" {
		return 0
	}
	info, err := os.Stat(f.path(fileLog))
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// guardedLog lets raft see no error but "not found": a follower that cannot read its own log makes the leader walk back
// and install an older snapshot over entries that this follower has acknowledged. stop cuts this node off from the
// others before the error goes on, so that no answer made of it leaves.
type guardedLog struct {
	raft.LogStore
	stop    func(error)
	written atomic.Uint64 // bytes of data stored since the start
}

func (g *guardedLog) guard(act string, err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		g.stop(fmt.Errorf("%w: %s: %w", ErrFailed, act, err))
	}
	return err
}

func (g *guardedLog) FirstIndex() (uint64, error) {
	i, err := g.LogStore.FirstIndex()
	return i, g.guard("read first index of log", err)
}

func (g *guardedLog) LastIndex() (uint64, error) {
	i, err := g.LogStore.LastIndex()
	return i, g.guard("read last index of log", err)
}

func (g *guardedLog) GetLog(index uint64, log *raft.Log) error {
	return g.guard(fmt.Sprintf("read entry %d", index), g.LogStore.GetLog(index, log))
}

func (g *guardedLog) StoreLog(log *raft.Log) error { return g.StoreLogs([]*raft.Log{log}) }

func (g *guardedLog) StoreLogs(logs []*raft.Log) error {
	if err := g.guard("write log", g.LogStore.StoreLogs(logs)); err != nil {
		return err
	}
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	g.written.Add(uint64(size))
	return nil
}

// cutPiece is how many entries one write transaction drops: a longer one would hold up every append behind it.
const cutPiece = 256

// DeleteRange drops a prefix in pieces, since what a crash leaves of it is still a prefix dropped. What reaches the last
// entry goes in one synced act: half of a cut tail would be a log with a hole.
func (g *guardedLog) DeleteRange(first, last uint64) error {
	end, err := g.LastIndex()
	if err != nil {
		return err
	}
	if last >= end {
		return g.guard("cut log", g.LogStore.DeleteRange(first, last))
	}
	for first <= last {
		piece := min(last, first+cutPiece-1)
		if err := g.guard("cut log", g.LogStore.DeleteRange(first, piece)); err != nil {
			return err
		}
		first = piece + 1
	}
	return nil
}

// guardedStable is the same for term and vote. A missing key is no error of the disk.
type guardedStable struct {
	raft.StableStore
	stop func(error)
}

func (g guardedStable) Set(key, value []byte) error {
	err := g.StableStore.Set(key, value)
	if err != nil {
		g.stop(fmt.Errorf("%w: write vote: %w", ErrFailed, err))
	}
	return err
}

func (g guardedStable) SetUint64(key []byte, value uint64) error {
	err := g.StableStore.SetUint64(key, value)
	if err != nil {
		g.stop(fmt.Errorf("%w: write term: %w", ErrFailed, err))
	}
	return err
}
