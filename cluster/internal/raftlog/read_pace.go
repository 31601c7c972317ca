package raftlog

import "time"

const (
	maxAheadBytes = 64 << 20               // bytes of entries that raft may have read and the tables have not applied
	pacePeriod    = 100 * time.Millisecond // how often a waiting reader looks at the applied row without being woken
)

// ReadPace keeps raft from reading its log far ahead of the tables. By itself raft queues up to 128 batches for them before
// it waits. These are 4,096 entries, which take some GiB of memory if all are large, on a follower that catches up or on a
// node that replays its log at the start.
type ReadPace struct {
	appliedRow func() uint64 // index of the last entry that the tables have applied
	applying   func() bool   // whether the tables are applying entries now
	applied    chan struct{} // capacity 1; gets a token after each applied batch
}

// NewReadPace returns a ReadPace for the tables. appliedRow returns their last applied index, and applying reports whether
// they are applying entries now.
func NewReadPace(appliedRow func() uint64, applying func() bool) *ReadPace {
	return &ReadPace{appliedRow: appliedRow, applying: applying, applied: make(chan struct{}, 1)}
}

// waitForTables delays the reader of the entry at index while more than maxAheadBytes of entries before it are not
// applied and the tables are applying. It must not wait while they are idle: a leader reads entries to send them to
// followers as well, and until these have them nothing more is committed for the tables to apply.
func (p *ReadPace) waitForTables(entries *Store, index uint64) {
	for {
		row := p.appliedRow()
		if index <= row || !p.applying() || entries.BytesAfter(row)-entries.BytesAfter(index) <= maxAheadBytes {
			return
		}
		select {
		case <-p.applied:
		case <-time.After(pacePeriod):
		}
	}
}

// WakeReader lets a waiting reader look again. It is called after each applied batch, and does not block.
func (p *ReadPace) WakeReader() {
	select {
	case p.applied <- struct{}{}:
	default:
	}
}
