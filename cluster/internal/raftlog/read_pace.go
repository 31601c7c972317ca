package raftlog

import "time"

const (
	maxAheadBytes = 64 << 20               // of entries that wait for the tables
	pacePeriod    = 100 * time.Millisecond // between two looks at tables that say nothing
)

// ReadPace keeps raft from reading its log far ahead of the tables. By itself it hands them up to 128 batches before it waits:
// 4,096 entries, which are some GiB when all are large, on a follower that catches up or starts again.
type ReadPace struct {
	appliedRow func() uint64 // the tables'
	applying   func() bool   // they are at work
	applied    chan struct{} // has a token once they have done a batch
}

// NewReadPace makes the pace of tables that have applied up to appliedRow, and are at work while applying says so.
func NewReadPace(appliedRow func() uint64, applying func() bool) *ReadPace {
	return &ReadPace{appliedRow: appliedRow, applying: applying, applied: make(chan struct{}, 1)}
}

// waitForTables holds up the reader of an entry while too many bytes before it have not been applied and tables are at work
// on them. While they stand still it does not: the entry may have to reach another node first.
func (p *ReadPace) waitForTables(entries *Store, index uint64) {
	for row := p.appliedRow(); index > row && p.applying() && entries.BytesAfter(row)-entries.BytesAfter(index) > maxAheadBytes; row = p.appliedRow() {
		select {
		case <-p.applied:
		case <-time.After(pacePeriod):
		}
	}
}

// WakeReader is for after each batch.
func (p *ReadPace) WakeReader() {
	select {
	case p.applied <- struct{}{}:
	default:
	}
}
