package raftlog

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// lineCounter is a writer that counts the lines that are logged to it.
type lineCounter struct{ atomic.Int64 }

func (l *lineCounter) Write(p []byte) (int, error) {
	l.Add(1)
	return len(p), nil
}

// The disk is full at each place at which the log needs space. The fault is reported once, no append is acknowledged from
// then on, none waits without end, and the process goes on.
func TestALogOnAFullDiskStops(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(op errorfs.Op) bool
	}{
		{"the next log file cannot be made", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite)
		}},
		{"a log file cannot be written", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && op.Kind == errorfs.OpFileWrite
		}},
		{"a table cannot be made", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpCreate
		}},
		{"a table cannot be written", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpFileWrite
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var full atomic.Bool
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && test.fails(op) {
					return syscall.ENOSPC
				}
				return nil
			}))
			faults := make(chan error, 100)
			var logged lineCounter
			s, err := openStore(fs, "log", false, pebble.FormatNewest, slog.New(slog.NewTextHandler(&logged, nil)), func(err error) { faults <- err })
			if err != nil {
				t.Fatal(err)
			}
			mustStore(t, s, entries(1, 1, 5))
			full.Store(true)
			failed := make(chan error, 1)
			go func() {
				for next := uint64(6); ; next += 100 {
					if err := s.StoreLogs(entries(1, next, next+99)); err != nil {
						failed <- err
						return
					}
				}
			}()
			select {
			case err := <-failed:
				if !errors.Is(err, disk.ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("an append on a full disk: %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("an append on a full disk does not return")
			}
			select {
			case <-faults:
			case <-time.After(10 * time.Second):
				t.Error("the node was not stopped")
			}
			if got := logged.Load(); got > 5 {
				t.Errorf("%d lines were logged, want at most 5", got)
			}
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Fatal("Close does not return")
			}
			if len(faults) > 0 {
				t.Errorf("the node was stopped again: %v", <-faults)
			}
		})
	}
}

// After a fault no call of Pebble begins: Pebble panics if one begins after its Close.
func TestABrokenLogBeginsNoCall(t *testing.T) {
	s, err := openStore(vfs.NewMem(), "log", false, pebble.FormatNewest, slog.New(slog.DiscardHandler), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	s.watch.MarkStuck(syscall.EIO)
	for range 100 { // select chooses at random between two ready channels
		begun := false
		_, err := disk.RunUnlessFailed(s.watch, func() (struct{}, error) {
			begun = true
			return struct{}{}, nil
		})
		if begun || !errors.Is(err, disk.ErrFailed) {
			t.Fatalf("begun: %v, error: %v; want disk.ErrFailed and no call", begun, err)
		}
	}
	if err := s.db.Close(); err != nil {
		t.Error(err)
	}
}
