package raftlog

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// While the tables are applying, raft reads at most maxAheadBytes more than they have applied.
func TestTheLogIsNotReadFarAheadOfTheTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openEntriesOn(t, vfs.NewMem())
		defer s.Close()
		const size, count = 1 << 20, 200
		for i := uint64(1); i <= count; i++ {
			mustStore(t, s, []*raft.Log{{Index: i, Term: 1, Data: make([]byte, size)}})
		}
		var row, read atomic.Uint64
		var busy atomic.Bool
		p := NewReadPace(row.Load, busy.Load)
		g := &GuardedLog{LogStore: s, onFault: func(err error) { t.Errorf("stopped: %v", err) }, ReadPace: p}
		busy.Store(true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := uint64(1); i <= count; i++ {
				var l raft.Log
				if err := g.GetLog(i, &l); err != nil {
					t.Errorf("entry %d: %v", i, err)
				}
				read.Store(i)
			}
		}()
		for applied := uint64(0); applied <= 100; applied += 20 {
			row.Store(applied)
			p.WakeReader()
			synctest.Wait()
			if ahead := read.Load() - applied; ahead < maxAheadBytes/size-3 || ahead > maxAheadBytes/size+3 {
				t.Errorf("the tables are at %d, and %d entries of 1 MiB have been read ahead", applied, ahead)
			}
		}
		busy.Store(false) // nothing is being applied, so the reads are not for the tables
		p.WakeReader()
		<-done
	})
}
