package commandqueue

import (
	"errors"
	"testing"

	"github.com/profilenode/profilenode/fsm"
)

// queueOf is a queue with room for all commands of the given sizes, which wait in it.
func queueOf(sizes ...uint64) *Queue[int] {
	q := New[int](1 << 40)
	for i, size := range sizes {
		if _, err := q.Add(i, size, OfClient); err != nil {
			panic(err)
		}
	}
	return q
}

func repeated(n int, size uint64) (sizes []uint64) {
	for range n {
		sizes = append(sizes, size)
	}
	return sizes
}

// drain takes entries until nothing waits, and says which sizes each holds.
func drain(t *testing.T, q *Queue[int]) (entries [][]uint64) {
	t.Helper()
	for batch := q.TakeBatch(); batch != nil; batch = q.TakeBatch() {
		var sizes []uint64
		sum := uint64(EntryOverhead)
		for _, p := range batch {
			sizes = append(sizes, p.Size)
			sum += p.Size
		}
		if sum > fsm.MaxEntryBytes || len(batch) > MaxCommands {
			t.Fatalf("an entry of %d bytes and %d commands", sum, len(batch))
		}
		entries = append(entries, sizes)
	}
	if q.Waits() {
		t.Fatal("something waits, and no entry takes it")
	}
	return entries
}

func count(sizes []uint64, small bool) (n int) {
	for _, size := range sizes {
		if (size <= smallBytes) == small {
			n++
		}
	}
	return n
}

const part = fsm.PartBytes + 40 // as a command

func TestSmallCommandsGoBesideLargeOnes(t *testing.T) {
	// Eight saves of 4 MiB, and one small command behind them.
	entries := drain(t, queueOf(append(repeated(64, part), 1000)...))
	if count(entries[0], true) != 1 || count(entries[0], false) != 1 {
		t.Errorf("the next entry holds %v, want the small command and a part", entries[0])
	}
	if len(entries) != 64 {
		t.Errorf("64 parts took %d entries", len(entries))
	}
}

func TestLargeCommandsGoOnUnderSmallOnes(t *testing.T) {
	for _, size := range []uint64{100, 5000, smallBytes} {
		entries := drain(t, queueOf(append(repeated(10_000, size), repeated(8, part)...)...))
		for i, e := range entries[:8] {
			if count(e, false) != 1 {
				t.Errorf("small ones of %d bytes: entry %d holds %d large ones, want one in each", size, i, count(e, false))
			}
			if size > 100 && uint64(count(e, true))*size < 400<<10 {
				t.Errorf("small ones of %d bytes: entry %d holds %d of them, want nearly half of it", size, i, count(e, true))
			}
		}
	}
}

// Of what is large and less than a part at most half of an entry goes while small ones wait, and all of it otherwise.
func TestHalfAnEntryIsForSmallCommands(t *testing.T) {
	const large = 100 << 10
	entries := drain(t, queueOf(append(repeated(50, large), repeated(20, 60<<10)...)...))
	if l, s := count(entries[0], false), count(entries[0], true); l != 5 || s != 8 {
		t.Errorf("the first entry holds %d large and %d small ones, want 5 and 8", l, s)
	}
	if l := count(entries[3], false); l != 10 {
		t.Errorf("an entry without small ones holds %d large ones, want 10", l)
	}
}

func TestEachLineKeepsItsOrder(t *testing.T) {
	var sizes []uint64
	for i := range uint64(300) {
		sizes = append(sizes, 100+i, smallBytes+1+i*1000)
	}
	var small, large uint64
	for _, e := range drain(t, queueOf(sizes...)) {
		for _, size := range e {
			last := &small
			if size > smallBytes {
				last = &large
			}
			if size <= *last {
				t.Fatalf("%d came after %d", size, *last)
			}
			*last = size
		}
	}
}

// Large commands never take all that may be in flight, and neither do all others the room of the cluster's own.
func TestLargeCommandsLeaveRoomInFlight(t *testing.T) {
	const limit = 8 << 20
	q := New[int](limit)
	var refused error
	for i := 0; refused == nil && i < 100; i++ {
		_, refused = q.Add(i, part, OfClient)
	}
	if !errors.Is(refused, ErrFull) || q.large.bytes > 6<<20 || q.large.bytes < 5<<20 {
		t.Fatalf("%d bytes of large ones were let in of %d, then: %v", q.large.bytes, limit, refused)
	}
	for refused = nil; refused == nil; {
		_, refused = q.Add(0, smallBytes, OfClient)
	}
	if q.small.bytes+q.large.bytes < limit-smallBytes {
		t.Errorf("%d and %d bytes were let in of %d, then: %v", q.small.bytes, q.large.bytes, limit, refused)
	}
	for i := range 200 {
		if _, err := q.Add(i, 1000, OfCluster); err != nil {
			t.Fatalf("the cluster's own command %d beside them: %v", i, err)
		}
	}
	if batch := q.TakeBatch(); len(batch) < 200 || batch[199].Size != 1000 {
		t.Errorf("the next entry has %d commands, want the cluster's own first", len(batch))
	} else {
		q.Release(batch)
	}
	for batch := q.TakeBatch(); batch != nil; batch = q.TakeBatch() {
		q.Release(batch)
	}
	if q.own.bytes+q.small.bytes+q.large.bytes != 0 {
		t.Errorf("%d, %d and %d bytes are in flight when nothing is", q.own.bytes, q.small.bytes, q.large.bytes)
	}
}

// A waiting call holds more than its command: ten thousand waiting calls of 52 bytes are not let in as half a megabyte.
func TestAWaitingCommandCountsFourKiBAtLeast(t *testing.T) {
	const limit = 8 << 20
	q := New[int](limit)
	let := 0
	for ; let < limit; let++ {
		if _, err := q.Add(0, 52, OfClient); err != nil {
			break
		}
	}
	if let != limit/leastCounted {
		t.Errorf("%d were let in, want %d", let, limit/leastCounted)
	}
}

// Giving up costs the same however many wait: the commands behind are not moved, and hold no memory in the end.
func TestGivingUpMovesNoOtherCommand(t *testing.T) {
	const count = 200_000
	q := New[int](1 << 40)
	var all []*Waiting[int]
	for i := range count {
		w, err := q.Add(i, 100, OfClient)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	copied := 0
	for i, w := range all[:count-1] {
		before := len(q.small.waiting)
		if !q.Withdraw(w) || q.Withdraw(w) {
			t.Fatalf("command %d: want it withdrawn once", i)
		}
		if after := len(q.small.waiting); after != before {
			copied += after
		}
	}
	if copied > count {
		t.Errorf("%d commands were copied while %d were withdrawn", copied, count)
	}
	if len(q.small.waiting) > 2*compactFrom {
		t.Errorf("%d places are held for one command", len(q.small.waiting))
	}
	batch := q.TakeBatch()
	if len(batch) != 1 || batch[0].Value != count-1 || q.Waits() || q.Withdraw(batch[0]) {
		t.Errorf("the entry has %d commands, want the last one alone, which cannot be withdrawn any more", len(batch))
	}
}

// A queue that was closed gives back all that waited, once, and takes nothing more.
func TestAClosedQueueGivesBackItsCommands(t *testing.T) {
	q := queueOf(100, part, 100)
	batch := q.TakeBatch()
	w, err := q.Add(7, part, OfClient)
	if err != nil {
		t.Fatal(err)
	}
	if left := q.Close(); len(left) != 1 || left[0] != w || q.Withdraw(w) {
		t.Errorf("%d were given back, want the one that waited", len(left))
	}
	if _, err := q.Add(8, 100, OfCluster); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if q.Release(batch); q.small.bytes+q.large.bytes != 0 {
		t.Errorf("%d bytes are left", q.small.bytes+q.large.bytes)
	}
}

// A thousand game servers that come back with all their sessions leave time in each entry: it takes a few of their commands, and
// whatever else waits behind them.
func TestReclaimsLeaveEachEntryToTheOthers(t *testing.T) {
	const reclaims = 1000
	q := New[int](1 << 40)
	for i := range reclaims {
		if _, err := q.Add(i, 20<<10, Reclaim); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		for _, size := range []uint64{1000, part} {
			if _, err := q.Add(reclaims+i, size, OfClient); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, last := 0, -1
	for batch := q.TakeBatch(); batch != nil; batch = q.TakeBatch() {
		taken := 0
		for _, p := range batch {
			if p.Value < reclaims {
				if taken++; p.Value != last+1 {
					t.Fatalf("reclaim %d comes after %d", p.Value, last)
				}
				last = p.Value
			}
		}
		if taken > 4 {
			t.Fatalf("an entry takes %d reclaims, want at most 4", taken)
		}
		if entries == 0 && len(batch) != 4+100+1 {
			t.Errorf("the first entry holds %d commands, want 4 reclaims, 100 small commands and a part", len(batch))
		}
		entries++
		q.Release(batch)
	}
	if entries != reclaims/4 || q.reclaims.bytes != 0 {
		t.Errorf("%d reclaims took %d entries, %d bytes are left", reclaims, entries, q.reclaims.bytes)
	}
}
