package fsm

import (
	"github.com/cespare/xxhash/v2"

	"github.com/profilenode/profilenode/lock"
)

// Position is the position of the tables in the log: the row that every applied batch writes.
type Position struct {
	Index   uint64 // of the last entry applied
	Term    uint64 // of that entry
	Level   uint32 // the highest level that an entry may have
	Cluster []byte // 16 bytes; empty until FoundCluster
	Epoch   uint64 // rises with each restore
	StampMS int64  // the highest timestamp so far
	Offset  uint64 // added to the index in tokens; only a restore raises it
	Digest  uint64 // running hash of all writes so far
}

func (s Position) encode() []byte {
	w := newRowWriter(64)
	w.writeUint(s.Index)
	w.writeUint(s.Term)
	w.writeUint(uint64(s.Level))
	w.writeBytes(s.Cluster)
	w.writeUint(s.Epoch)
	w.writeInt(s.StampMS)
	w.writeUint(s.Offset)
	w.writeFixed(s.Digest)
	return w
}

func (r *tableReader) readPosition() Position {
	row, ok := r.getRow([]byte{tablePosition})
	if !ok {
		return Position{}
	}
	f := newRowReader(row)
	s := Position{
		Index: f.readUint(), Term: f.readUint(), Level: uint32(f.readUint()), Cluster: append([]byte(nil), f.readBytes()...),
		Epoch: f.readUint(), StampMS: f.readInt(), Offset: f.readUint(), Digest: f.readFixed(),
	}
	r.noteError(f.finishRow(tablePosition))
	return s
}

// foldDigest adds a command's write set to the running digest. The command's token is added too, so that a command without
// writes also changes the digest.
func (s *Position) foldDigest(at lock.Token, writes uint64) {
	w := rowWriter(make([]byte, 0, 24))
	w.writeFixed(s.Digest)
	w.writeFixed(uint64(at))
	w.writeFixed(writes)
	s.Digest = xxhash.Sum64(w)
}
