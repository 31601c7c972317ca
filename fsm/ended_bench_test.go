package fsm_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// BenchmarkCallAfterManyEnded: one command-line call, which registers, sets a profile and ends, after 100,000 of them have ended.
func BenchmarkCallAfterManyEnded(b *testing.B) {
	m, calls := endedCalls(b, 100_000)
	defer func() { must(b, m.Close()) }()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		calls.run(b, m, 1)
		took = append(took, time.Since(began))
	}
	reportTimes(b, took)
}

// BenchmarkForgetEnded: 100 calls in one batch behind a command that forgets 256 incarnations.
func BenchmarkForgetEnded(b *testing.B) {
	m, calls := endedCalls(b, 100_000)
	defer func() { must(b, m.Close()) }()
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		logs := []fsm.Log{calls.forget(b, 256)}
		for range 100 {
			calls.index++
			logs = append(logs, entry(b, calls.index, calls.register()))
		}
		b.StartTimer()
		began := time.Now()
		read(m.Apply(logs))(b)
		took = append(took, time.Since(began))
	}
	reportTimes(b, took)
}

func reportTimes(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us/p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us/p99")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "us/max")
}

// callStream makes the entries of command-line calls.
type callStream struct{ index, calls uint64 }

// endedCalls opens tables on disk in which a number of calls have ended.
func endedCalls(b *testing.B, n int) (*fsm.Machine, *callStream) {
	b.Helper()
	m, err := fsm.Open(fsm.Options{FS: vfs.Default, Dir: b.TempDir(), Logger: quiet{b}})
	must(b, err)
	s := &callStream{index: 1}
	read(m.Apply([]fsm.Log{entry(b, s.index, founding())}))(b)
	for range n / 100 {
		s.run(b, m, 100)
	}
	return m, s
}

func (s *callStream) register() *fsm.Command {
	s.calls++
	nonce := binary.BigEndian.AppendUint64(make([]byte, 8, 16), s.calls) // the registration, its head, is 0
	return fsm.NewCommand(nil, &fsm.Register{Name: fmt.Sprintf("tool-%08x", s.calls*2654435761%(1<<32)), Kind: 1, Nonce: nonce})
}

// run applies the entries of so many calls: all registrations, then all sets, then all ends, each of the three as one batch.
func (s *callStream) run(b *testing.B, m *fsm.Machine, n int) {
	var registrations, sets, ends []fsm.Log
	for range n {
		s.index++
		id := uint64(lock.TokenAt(s.index, 0))
		registrations = append(registrations, entry(b, s.index, s.register()))
		sets = append(sets, fsm.Log{Index: id})
	}
	for i := range sets {
		s.index++
		id := sets[i].Index
		sets[i] = entry(b, s.index, fsm.NewCommand(&fsm.Request{Incarnation: id, Number: 1, Hash: 1},
			&fsm.Set{Store: "players", Key: "p", AnyRevision: true, Data: data("x")}))
		ends = append(ends, fsm.Log{Index: id})
	}
	for i := range ends {
		s.index++
		ends[i] = entry(b, s.index, fsm.NewCommand(&fsm.Request{Incarnation: ends[i].Index, Number: 2, Settled: 1, Hash: 2}, &fsm.EndServer{}))
	}
	for _, logs := range [][]fsm.Log{registrations, sets, ends} {
		for _, out := range read(m.Apply(logs))(b) {
			if out.Results[0].Code != fsm.OK {
				b.Fatalf("a call is refused: %+v", out.Results[0])
			}
		}
	}
}

// forget returns the entry that forgets incarnations.
func (s *callStream) forget(b *testing.B, n uint32) fsm.Log {
	s.index++
	return entry(b, s.index, fsm.NewCommand(nil, &fsm.CountMinute{}), fsm.NewCommand(nil, &fsm.ForgetEnded{NothingLeftBefore: 1 << 50, Limit: n}))
}
