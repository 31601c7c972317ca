package raftlog

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	boltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// These benchmarks compare the log on Pebble with raft-boltdb, which holds the votes in either case. Pebble was chosen by
// their results; these depend on the disk.
//
//	go test ./cluster/internal/raftlog -run '^$' -bench 'Log' -count 3

func benchLog(b *testing.B, name string) raft.LogStore {
	if name == "pebble" {
		dir := filepath.Join(b.TempDir(), "log")
		s, err := openStore(vfs.Default, dir, false, pebble.FormatNewest, slog.New(slog.DiscardHandler), func(err error) { b.Error(err) })
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		return s
	}
	s, err := boltdb.New(boltdb.Options{
		Path:                    filepath.Join(b.TempDir(), "raft.db"),
		BoltOptions:             &bbolt.Options{FreelistType: bbolt.FreelistMapType},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// benchAppend appends count entries of size bytes in one call, from index next on. It returns the index after them.
func benchAppend(b *testing.B, s raft.LogStore, next uint64, count, size int) uint64 {
	logs := make([]*raft.Log, count)
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	for i := range logs {
		logs[i] = &raft.Log{Index: next, Term: 1, Data: data}
		next++
	}
	if err := s.StoreLogs(logs); err != nil {
		b.Fatal(err)
	}
	return next
}

func BenchmarkLogAppend(b *testing.B) {
	for _, shape := range []struct{ count, size int }{{1, 100}, {1, 4 << 10}, {64, 100}, {64, 4 << 10}, {1, 1 << 20}} {
		for _, name := range []string{"bolt", "pebble"} {
			b.Run(fmt.Sprintf("%dx%dB/%s", shape.count, shape.size, name), func(b *testing.B) {
				s := benchLog(b, name)
				b.SetBytes(int64(shape.count * shape.size))
				next := uint64(1)
				for b.Loop() {
					next = benchAppend(b, s, next, shape.count, shape.size)
				}
			})
		}
	}
}

// One operation is an append of 4 KiB while 10,000 entries before it are being deleted, all at once or in pieces of 256.
func BenchmarkLogAppendWhileCutting(b *testing.B) {
	const cut = 10_000
	for _, piece := range []uint64{cut, 256} {
		for _, name := range []string{"bolt", "pebble"} {
			b.Run(fmt.Sprintf("pieces of %d/%s", piece, name), func(b *testing.B) {
				s := benchLog(b, name)
				next, first := uint64(1), uint64(1)
				var longest, took time.Duration
				var done chan error
				for b.Loop() {
					if done == nil {
						b.StopTimer()
						for next < first+cut+cut {
							next = benchAppend(b, s, next, 512, 4<<10)
						}
						done = make(chan error, 1)
						begun, from := time.Now(), first
						go func() {
							for at := from; at < from+cut; at += piece {
								if err := s.DeleteRange(at, min(at+piece, from+cut)-1); err != nil {
									done <- err
									return
								}
							}
							took = max(took, time.Since(begun))
							done <- nil
						}()
						first += cut
						b.StartTimer()
					}
					begun := time.Now()
					next = benchAppend(b, s, next, 1, 4<<10)
					longest = max(longest, time.Since(begun))
					select {
					case err := <-done:
						if done = nil; err != nil {
							b.Fatal(err)
						}
					default:
					}
				}
				if done != nil {
					<-done
				}
				b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
				b.ReportMetric(float64(took.Microseconds())/1000, "cut-ms")
			})
		}
	}
}
