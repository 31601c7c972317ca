package cluster

import "time"

const (
	aheadBytes = 64 << 20               // of entries that wait for the tables
	paceLook   = 100 * time.Millisecond // between two looks at tables that say nothing
)

// trimPace keeps raft from reading its log far ahead of the tables. By itself it hands them up to 128 batches before it waits:
// 4,096 entries, which are some GiB when all are large, on a follower that catches up or starts again.
type trimPace struct {
	row   func() uint64 // the tables'
	busy  func() bool   // they are at work
	moved chan struct{} // has a token once they have done a batch
}

// waitForReaders holds up the reader of an entry while too many bytes before it have not been applied and tables are at work
// on them. While they stand still it does not: the entry may have to reach another node first.
func (p *trimPace) waitForReaders(entries *logStore, index uint64) {
	for row := p.row(); index > row && p.busy() && entries.bytesBehind(row)-entries.bytesBehind(index) > aheadBytes; row = p.row() {
		select {
		case <-p.moved:
		case <-time.After(paceLook):
		}
	}
}

// wakeTrim is for after each batch.
func (p *trimPace) wakeTrim() {
	select {
	case p.moved <- struct{}{}:
	default:
	}
}
