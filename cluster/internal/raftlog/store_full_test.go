package raftlog

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// lines counts what is said.
type lines struct{ atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.Add(1)
	return len(p), nil
}

// A disk that takes no more than it has, at each place where the log needs more: the log says so once, no append is
// acknowledged from there on, none waits for ever, and the process lives.
func TestALogOnAFullDiskStops(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(op errorfs.Op) bool
	}{
		{"the next file cannot be made", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite)
		}},
		{"a file takes no more", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && op.Kind == errorfs.OpFileWrite
		}},
		{"a table cannot be made", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpCreate
		}},
		{"a table takes no more", func(op errorfs.Op) bool {
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
			told := make(chan error, 100)
			var said lines
			s, err := openStore(fs, "log", false, slog.New(slog.NewTextHandler(&said, nil)), func(err error) { told <- err })
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
				t.Error("an append on a full disk waits for ever")
			}
			select {
			case <-told:
			case <-time.After(10 * time.Second):
				t.Error("the node was not told")
			}
			if got := said.Load(); got > 5 {
				t.Errorf("%d lines in the log", got)
			}
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Fatal("close does not return")
			}
			if len(told) > 0 {
				t.Errorf("the node was told again: %v", <-told)
			}
		})
	}
}

// No call begins on a log that is broken: Pebble panics if a call that nothing waits for begins after its Close.
func TestABrokenLogBeginsNoCall(t *testing.T) {
	s, err := openStore(vfs.NewMem(), "log", false, slog.New(slog.DiscardHandler), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	s.watch.MarkStuck(syscall.EIO)
	for range 100 { // a choice between two ready channels is made at random
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
