package raftlog

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// A cut of the tail waits for a slow disk. A concurrent read of a deleted entry, by a leader that is being deposed,
// returns "not found". If it returned an error for a gap in the log, the node would stop.
func TestAReadBesideASlowCutFindsNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		var armed atomic.Bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			syncs := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
			if armed.Load() && syncs {
				<-slow
			}
			return nil
		}))
		s, err := openStore(fs, "log", false, pebble.FormatNewest, slog.New(slog.DiscardHandler), func(err error) { t.Errorf("stopped: %v", err) })
		if err != nil {
			t.Fatal(err)
		}
		var logs []*raft.Log
		for i := range uint64(10) {
			logs = append(logs, &raft.Log{Index: i + 1, Term: 1, Data: []byte("x")})
		}
		if err := s.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		armed.Store(true)
		cut, read := make(chan error, 1), make(chan error, 1)
		go func() { cut <- s.DeleteRange(8, 10) }()
		synctest.Wait()
		go func() {
			var l raft.Log
			read <- s.GetLog(9, &l)
		}()
		synctest.Wait()
		close(slow)
		if err := <-cut; err != nil {
			t.Errorf("cut: %v", err)
		}
		if err := <-read; !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("read of an entry that is being deleted: got %v, want ErrLogNotFound", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
