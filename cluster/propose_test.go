package cluster

import (
	"fmt"
	"testing"

	"github.com/profilenode/profilenode/fsm"
)

// waiting is a queue that nobody takes from, with room for everything.
func waiting(sizes ...uint64) *proposeQueue {
	q := &proposeQueue{limitBytes: 1 << 40, wake: make(chan struct{}, 1)}
	for _, size := range sizes {
		if err := q.addProposal(&pendingProposal{size: size, answer: make(chan proposalResult, 1)}); err != nil {
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
func drain(t *testing.T, q *proposeQueue) (entries [][]uint64) {
	t.Helper()
	for batch := q.takeBatch(); batch != nil; batch = q.takeBatch() {
		var sizes []uint64
		sum := uint64(entryOverhead)
		for _, p := range batch {
			sizes = append(sizes, p.size)
			sum += p.size
		}
		if sum > fsm.MaxEntryBytes || len(batch) > maxEntryCommands {
			t.Fatalf("an entry of %d bytes and %d commands", sum, len(batch))
		}
		entries = append(entries, sizes)
	}
	if len(q.smallLane.waiting)+len(q.largeLane.waiting) > 0 {
		t.Fatal("something waits, and no entry takes it")
	}
	return entries
}

func count(sizes []uint64, small bool) (n int) {
	for _, size := range sizes {
		if (size <= smallCommandBytes) == small {
			n++
		}
	}
	return n
}

const part = fsm.PartBytes + 40 // as a command

func TestSmallCommandsGoBesideLargeOnes(t *testing.T) {
	// Eight saves of 4 MiB, and one small command behind them.
	entries := drain(t, waiting(append(repeated(64, part), 1000)...))
	if count(entries[0], true) != 1 || count(entries[0], false) != 1 {
		t.Errorf("the next entry holds %v, want the small command and a part", entries[0])
	}
	if len(entries) != 64 {
		t.Errorf("64 parts took %d entries", len(entries))
	}
}

func TestLargeCommandsGoOnUnderSmallOnes(t *testing.T) {
	for _, size := range []uint64{100, 5000, smallCommandBytes} {
		entries := drain(t, waiting(append(repeated(10_000, size), repeated(8, part)...)...))
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
	entries := drain(t, waiting(append(repeated(50, large), repeated(20, 60<<10)...)...))
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
		sizes = append(sizes, 100+i, smallCommandBytes+1+i*1000)
	}
	var small, large uint64
	for _, e := range drain(t, waiting(sizes...)) {
		for _, size := range e {
			last := &small
			if size > smallCommandBytes {
				last = &large
			}
			if size <= *last {
				t.Fatalf("%d came after %d", size, *last)
			}
			*last = size
		}
	}
}

// Large commands never take all that may be in flight.
func TestLargeCommandsLeaveRoomInFlight(t *testing.T) {
	q := waiting()
	q.limitBytes = 8 << 20
	var refused error
	for i := 0; refused == nil && i < 100; i++ {
		refused = q.addProposal(&pendingProposal{size: part, answer: make(chan proposalResult, 1)})
	}
	if refused == nil || q.largeLane.bytes > 6<<20 || q.largeLane.bytes < 5<<20 {
		t.Fatalf("%d bytes of large ones were let in of %d, then: %v", q.largeLane.bytes, q.limitBytes, refused)
	}
	for i := range 20 {
		if err := q.addProposal(&pendingProposal{size: smallCommandBytes, answer: make(chan proposalResult, 1)}); err != nil {
			t.Fatalf("small command %d beside them: %v", i, err)
		}
	}
	for batch := q.takeBatch(); batch != nil; batch = q.takeBatch() {
		q.entrySlots = make(chan struct{}, 1)
		q.entrySlots <- struct{}{}
		q.inFlight = map[*entryInFlight]struct{}{}
		q.replyAll(&entryInFlight{proposals: batch}, nil, fmt.Errorf("over"))
	}
	if q.smallLane.bytes+q.largeLane.bytes != 0 {
		t.Errorf("%d and %d bytes are in flight when nothing is", q.smallLane.bytes, q.largeLane.bytes)
	}
}
