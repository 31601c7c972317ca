package raftlog

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// openEntriesOn opens a log on fs that must not meet a fault.
func openEntriesOn(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := openStore(fs, "log", false, pebble.FormatNewest, slog.New(slog.DiscardHandler), func(err error) { t.Errorf("stopped: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// entries returns the entries of term from first to last, each with its own random data.
func entries(term, first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		source := rand.New(rand.NewPCG(i, term))
		data := make([]byte, source.IntN(3000))
		for j := range data {
			data[j] = byte(source.Uint32())
		}
		l := &raft.Log{Index: i, Term: term, Type: raft.LogType(i % 3), Data: data, AppendedAt: time.Unix(int64(i), 7)}
		logs = append(logs, l)
	}
	return logs
}

func mustStore(t testing.TB, s raft.LogStore, logs []*raft.Log) {
	t.Helper()
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
}

func mustCut(t testing.TB, s raft.LogStore, first, last uint64) {
	t.Helper()
	if err := s.DeleteRange(first, last); err != nil {
		t.Fatal(err)
	}
}

// logHolds fails the test unless the log is exactly want.
func logHolds(t testing.TB, s raft.LogStore, want []*raft.Log) {
	t.Helper()
	first, err := s.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var wantFirst, wantLast uint64
	if len(want) > 0 {
		wantFirst, wantLast = want[0].Index, want[len(want)-1].Index
	}
	if first != wantFirst || last != wantLast {
		t.Fatalf("the log is %d to %d, want %d to %d", first, last, wantFirst, wantLast)
	}
	var l raft.Log
	for _, outside := range []uint64{0, wantFirst - 1, wantLast + 1} {
		if err := s.GetLog(outside, &l); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d outside of %d to %d: %v", outside, first, last, err)
		}
	}
	for _, w := range want {
		if err := s.GetLog(w.Index, &l); err != nil {
			t.Fatalf("entry %d: %v", w.Index, err)
		}
		if same := l.Index == w.Index && l.Term == w.Term && l.Type == w.Type && bytes.Equal(l.Data, w.Data) &&
			bytes.Equal(l.Extensions, w.Extensions) && l.AppendedAt.Equal(w.AppendedAt); !same {
			t.Fatalf("entry %d is of term %d with %d bytes, want term %d with %d", w.Index, l.Term, len(l.Data), w.Term, len(w.Data))
		}
	}
}

func TestLogKeepsEntriesAndCuts(t *testing.T) {
	fs := vfs.NewMem()
	s := openEntriesOn(t, fs)
	logHolds(t, s, nil)
	want := entries(1, 7, 40)
	want[3].Extensions, want[4].Data, want[5].AppendedAt = []byte("more"), nil, time.Time{}
	mustStore(t, s, want[:1])
	mustStore(t, s, want[1:])
	logHolds(t, s, want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openEntriesOn(t, fs)
	defer s.Close()
	logHolds(t, s, want)

	mustCut(t, s, 30, 40)
	mustCut(t, s, 1, 12)
	other := entries(2, 30, 33)
	mustStore(t, s, other)
	want = slices.Concat(want[6:23], other)
	logHolds(t, s, want)
	mustCut(t, s, 1, 5) // these are deleted already
	mustCut(t, s, 34, 60)
	logHolds(t, s, want)
	mustCut(t, s, 13, 33)
	logHolds(t, s, nil)
	mustStore(t, s, entries(3, 100, 101)) // an empty log begins anywhere
	logHolds(t, s, entries(3, 100, 101))
}

func TestLogRefusesHoles(t *testing.T) {
	s := openEntriesOn(t, vfs.NewMem())
	defer s.Close()
	want := entries(1, 5, 10)
	mustStore(t, s, want)
	for name, logs := range map[string][]*raft.Log{
		"a gap":              entries(1, 12, 13),
		"an overlap":         entries(1, 10, 11),
		"one before":         entries(1, 4, 4),
		"a gap in the batch": {entries(1, 11, 11)[0], entries(1, 13, 13)[0]},
		"entry 0":            {{Index: 0}},
	} {
		if err := s.StoreLogs(logs); err == nil {
			t.Errorf("%s was stored", name)
		}
	}
	if err := s.DeleteRange(6, 9); err == nil {
		t.Error("a cut left a gap in the log")
	}
	logHolds(t, s, want)
}

func TestLogFindsDamage(t *testing.T) {
	l := entries(3, 9, 9)[0]
	value := make([]byte, entrySize(l))
	encodeEntry(value, l)
	var got raft.Log
	if err := decodeEntry(value, 9, &got); err != nil {
		t.Fatal(err)
	}
	if err := decodeEntry(value, 10, &got); err == nil {
		t.Error("an entry under the key of another was accepted")
	}
	for i := range value {
		value[i] ^= 4
		if err := decodeEntry(value, 9, &got); err == nil {
			t.Errorf("byte %d is damaged, and the entry was accepted", i)
		}
		value[i] ^= 4
		if err := decodeEntry(value[:i], 9, &got); err == nil {
			t.Errorf("%d bytes of %d were accepted", i, len(value))
		}
	}
}

// The head is cut while other goroutines append and read, as raft does after a snapshot.
func TestLogIsCutBesideAppends(t *testing.T) {
	s := openEntriesOn(t, vfs.NewMem())
	defer s.Close()
	const last = 2000
	appended := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		defer close(appended)
		for i := uint64(1); i <= last; i += 4 {
			if err := s.StoreLogs(termEntries(1, i, i+3)); err != nil {
				t.Errorf("append %d: %v", i, err)
				return
			}
		}
	})
	beside.Go(func() {
		for running := true; running; {
			select {
			case <-appended:
				running = false
			default:
			}
			first, end := s.IndexBounds()
			if end < first+20 {
				continue
			}
			if err := s.DeleteRange(first, end-10); err != nil {
				t.Errorf("cut %d to %d: %v", first, end-10, err)
				return
			}
			var l raft.Log
			for _, i := range []uint64{end - 15, end - 5, end} {
				if err := s.GetLog(i, &l); err != nil && (i > end-10 || !errors.Is(err, raft.ErrLogNotFound)) {
					t.Errorf("entry %d after a cut up to %d: %v", i, end-10, err)
				}
			}
		}
	})
	beside.Wait()
	first, end := s.IndexBounds()
	if end != last || first < last-40 {
		t.Fatalf("the log is %d to %d", first, end)
	}
	logHolds(t, s, termEntries(1, first, last))
}
