package fsm_test

import (
	"maps"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/fsm"
)

// openComparing opens a machine that writes down the sum of each range that is compared, by the index of its entry.
func openComparing(t *testing.T, fs vfs.FS) (*fsm.Machine, map[uint64]uint64) {
	t.Helper()
	sums := map[uint64]uint64{}
	m := read(fsm.Open(fsm.Options{
		FS: fs, Dir: "tables", Logger: quiet{t}, CacheBytes: 1 << 20, Build: fsm.Build{Level: testLevel},
		OnCompare: func(r fsm.ComparedRange) {
			sums[r.View.Position().Index] = read(r.View.SumRange(r.From, r.To, 1<<10, func() error { return nil }))(t)
			must(t, r.View.Close())
		},
	}))(t)
	return m, sums
}

// The rows that are compared are those after the entry, however the log is divided into batches: nodes with the same tables have
// the same sums.
func TestComparedRowsAreThoseAfterTheEntry(t *testing.T) {
	eachSeed(t, 10, 400, func(t *testing.T, r *recorded, _ dice) {
		together, sumsTogether := openComparing(t, vfs.NewMem())
		read(together.Apply(r.logs))(t)
		alone, sumsAlone := openComparing(t, vfs.NewMem())
		for _, log := range r.logs {
			read(alone.Apply([]fsm.Log{log}))(t)
		}
		// However the stream rolled, a range is compared: the rest of its pass, and then all rows.
		next := read(alone.View())(t)
		at := read(next.Comparison())(t)
		must(t, next.Close())
		index := alone.Position().Index + 1
		last := []fsm.Log{
			entry(t, index, fsm.NewCommand(nil, &fsm.CompareRange{From: at.Next})),
			entry(t, index+1, fsm.NewCommand(nil, &fsm.CompareRange{})),
		}
		read(together.Apply(last))(t)
		for _, log := range last {
			read(alone.Apply([]fsm.Log{log}))(t)
		}
		if !maps.Equal(sumsTogether, sumsAlone) {
			t.Errorf("the sums are\n%v in one batch,\n%v in batches of one entry", sumsTogether, sumsAlone)
		}
		if len(sumsAlone) < len(last) {
			t.Errorf("%d ranges were compared, want at least %d", len(sumsAlone), len(last))
		}
		must(t, together.Close())
		must(t, alone.Close())
	})
}

// A pass goes through all rows, each in one range, and the next one begins at the first row.
func TestAPassComparesEveryRowOnce(t *testing.T) {
	m, _, _ := prepared(t)
	defer func() { must(t, m.Close()) }()
	index, ranges := m.Position().Index, 0
	for from := []byte(nil); ; ranges++ {
		view := read(m.View())(t)
		to := read(view.FindRangeEnd(from, 50))(t)
		must(t, view.Close())
		index++
		out := read(m.Apply([]fsm.Log{entry(t, index, fsm.NewCommand(nil, &fsm.CompareRange{From: from, To: to}),
			fsm.NewCommand(nil, &fsm.CompareRange{From: to}))}))(t)
		if one, two := out[0].Results[0].Code, out[0].Results[1].Code; one != fsm.OK || two != fsm.Superseded {
			t.Fatalf("two ranges in one entry became %d and %d", one, two)
		}
		view = read(m.View())(t)
		at := read(view.Comparison())(t)
		must(t, view.Close())
		if string(at.Next) != string(to) || at.StartedMS == 0 {
			t.Fatalf("after a range up to %q the comparison is at %+v", to, at)
		}
		if len(to) == 0 {
			break
		}
		from = to
	}
	if ranges < 3 {
		t.Errorf("the pass had %d ranges", ranges)
	}
}
