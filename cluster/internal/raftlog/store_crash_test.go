package raftlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// After each act a power loss is simulated, which keeps none, half or all of the data that is not synced. The log then
// still has every acknowledged entry, and no entry that was cut from the tail.
func TestLogOutlivesAPowerLossAfterEveryAct(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		source := rand.New(rand.NewPCG(seed, 0))
		fs := vfs.NewCrashableMem()
		s := openEntriesOn(t, fs)
		var want []*raft.Log
		next, term := uint64(1), uint64(1)
		for act := range 150 {
			done := ""
			switch n := source.IntN(10); {
			case n < 6 || len(want) == 0:
				logs := entries(term, next, next+source.Uint64N(8))
				done = fmt.Sprintf("append %d to %d", next, logs[len(logs)-1].Index)
				mustStore(t, s, logs)
				want = append(want, logs...)
				next += uint64(len(logs))
			case n < 8:
				upTo := want[source.IntN(len(want))].Index
				done = fmt.Sprintf("cut up to %d", upTo)
				mustCut(t, s, want[0].Index, upTo)
				want = want[upTo-want[0].Index+1:]
			case n < 9:
				from := want[source.IntN(len(want))].Index
				done = fmt.Sprintf("cut from %d", from)
				mustCut(t, s, from, want[len(want)-1].Index)
				want = want[:from-want[0].Index]
				next, term = from, term+1
			default:
				done = "open again"
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openEntriesOn(t, fs)
			}
			logHolds(t, s, want)
			percent := []int{0, 50, 100}[act%3]
			crashed := openEntriesOn(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: source}))
			logSurvived(t, crashed, want, fmt.Sprintf("seed %d, act %d, %s, %d %% of unsynced data kept", seed, act, done, percent))
			if err := crashed.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// logSurvived fails the test unless the log holds want. Entries before want are allowed: a crash may undo a cut of the
// head.
func logSurvived(t *testing.T, s *Store, want []*raft.Log, when string) {
	t.Helper()
	first, last := s.IndexBounds()
	if len(want) == 0 {
		if last != 0 {
			t.Fatalf("%s: a deleted log holds %d to %d", when, first, last)
		}
		return
	}
	if first > want[0].Index || last != want[len(want)-1].Index {
		t.Fatalf("%s: the log is %d to %d, want %d to %d", when, first, last, want[0].Index, want[len(want)-1].Index)
	}
	var l raft.Log
	for i := first; i <= last; i++ {
		if err := s.GetLog(i, &l); err != nil {
			t.Fatalf("%s: entry %d: %v", when, i, err)
		}
		if i < want[0].Index {
			continue
		}
		if w := want[i-want[0].Index]; l.Term != w.Term || !bytes.Equal(l.Data, w.Data) {
			t.Fatalf("%s: entry %d is of term %d, want %d", when, i, l.Term, w.Term)
		}
	}
}

// A crash during an append keeps all earlier appends, and of this one all entries or none.
func TestLogOutlivesAPowerLossAtEveryWrite(t *testing.T) {
	source := rand.New(rand.NewPCG(9, 9))
	fs := vfs.NewCrashableMem()
	var clones []*vfs.MemFS
	var acked []uint64 // for each clone, the last index that was acknowledged when it was made
	var last uint64
	crashing := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".log") && len(clones) < 400 {
			clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: source}))
			acked = append(acked, last)
		}
		return nil
	}))
	s := openEntriesOn(t, crashing)
	var want []*raft.Log
	for range 60 {
		logs := entries(1, last+1, last+1+source.Uint64N(6))
		mustStore(t, s, logs)
		want = append(want, logs...)
		last = want[len(want)-1].Index
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(clones) < 60 {
		t.Fatalf("%d crashes, want at least one an append", len(clones))
	}
	for i, clone := range clones {
		crashed := openEntriesOn(t, clone)
		_, last := crashed.IndexBounds()
		if last < acked[i] {
			t.Fatalf("crash %d: the log ends at %d, %d was acknowledged", i, last, acked[i])
		}
		logHolds(t, crashed, want[:last])
		if err := crashed.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// After a failed sync the append and all later ones return an error, the node is stopped, and Close returns.
func TestLogStopsAtAFailedSync(t *testing.T) {
	broken := false
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return errorfs.ErrInjected
		}
		return nil
	}))
	var faults faultRecorder
	s, err := openStore(fs, "log", false, pebble.FormatNewest, slog.New(slog.DiscardHandler), faults.stop)
	if err != nil {
		t.Fatal(err)
	}
	mustStore(t, s, entries(1, 1, 5))
	broken = true
	g := &GuardedLog{LogStore: s, onFault: faults.stop}
	if err := g.StoreLogs(entries(1, 6, 6)); err == nil {
		t.Fatal("an append whose sync failed was acknowledged")
	}
	if last, _ := g.LastIndex(); last != 5 {
		t.Errorf("the log ends at %d, want 5", last)
	}
	if faults.count() == 0 {
		t.Error("the node was not stopped")
	}
	if err := g.StoreLogs(entries(1, 6, 6)); err == nil {
		t.Error("an append after a failed sync was acknowledged")
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close does not return")
	}
}
