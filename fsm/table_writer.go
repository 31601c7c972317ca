package fsm

import (
	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/profilenode/profilenode/lock"
)

// tableWriter writes rows in one batch, and reads them back before the batch is committed. Every write goes into the digest
// of the command at hand. The tables (grants, records, messages and so on) share one.
type tableWriter struct {
	tableReader
	batch    *pebble.Batch
	position Position

	// Of the entry and command at hand.
	index, term uint64
	level       uint32 // the entry's: what a rule does, where levels differ in it, follows from this level and not from the cluster's
	token       lock.Token
	writes      *xxhash.Digest
	events      []Event // to be told once the batch is committed

	sweptRanges [][2][]byte // deleted when nothing is read from the batch any more
}

const (
	opPut    = 1
	opDelete = 2
	opRange  = 3
)

func (t *tableWriter) putRow(key, row []byte) {
	t.foldWrite(opPut, key, row)
	t.rows.storeRow(key, row)
	t.noteError(t.batch.Set(key, row, nil))
}

func (t *tableWriter) deleteRow(key []byte) {
	t.foldWrite(opDelete, key, nil)
	t.rows.storeRow(key, nil)
	t.noteError(t.batch.Delete(key, nil))
}

// deletePrefix deletes every row whose key begins with prefix.
func (t *tableWriter) deletePrefix(prefix []byte) { t.deleteRange(prefix, keyAfterPrefix(prefix)) }

// deleteRange deletes every row in [from, to).
func (t *tableWriter) deleteRange(from, to []byte) {
	t.foldWrite(opRange, from, to)
	t.rows.forgetRange(from, to)
	t.noteError(t.batch.DeleteRange(from, to, nil))
}

// sweepPrefix deletes every row whose key begins with prefix, but only when the batch is finished. It is for rows that no
// later command reads or writes. Reads of a Pebble batch become slower with each range deleted in it, so that a thousand
// game servers that end together would otherwise block Apply for seconds.
func (t *tableWriter) sweepPrefix(prefix []byte) {
	to := keyAfterPrefix(prefix)
	t.foldWrite(opRange, prefix, to)
	t.sweptRanges = append(t.sweptRanges, [2][]byte{prefix, to})
}

// finishSweep deletes the swept ranges. Nothing may be read from the batch afterwards.
func (t *tableWriter) finishSweep() {
	for _, r := range t.sweptRanges {
		t.noteError(t.batch.DeleteRange(r[0], r[1], nil))
	}
}

func (t *tableWriter) foldWrite(op byte, key, row []byte) {
	var head [17]byte
	w := rowWriter(head[:0])
	w = append(w, op)
	w.writeFixed(uint64(len(key)))
	w.writeFixed(uint64(len(row)))
	_, _ = t.writes.Write(w)
	_, _ = t.writes.Write(key)
	_, _ = t.writes.Write(row)
}

func (t *tableWriter) addEvent(e Event) { t.events = append(t.events, e) }
