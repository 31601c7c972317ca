package fsm

import (
	"github.com/cespare/xxhash/v2"
	"github.com/profilenode/profilenode/lock"
)

// Standing is where the tables stand: the row that every applied batch writes.
type Standing struct {
	Index   uint64 // of the last entry applied
	Term    uint64 // of that entry
	Level   uint32 // the highest level that an entry may have
	Cluster []byte // 16 bytes; empty until Found
	Epoch   uint64 // rises with each restore
	StampMS int64  // the highest stamp so far
	Offset  uint64 // added to the index in tokens
	Digest  uint64 // of everything written so far
}

func (s Standing) encode() []byte {
	w := newRow(64)
	w.uint(s.Index)
	w.uint(s.Term)
	w.uint(uint64(s.Level))
	w.bytes(s.Cluster)
	w.uint(s.Epoch)
	w.int(s.StampMS)
	w.uint(s.Offset)
	w.fixed(s.Digest)
	return w
}

func (r *reader) standing() Standing {
	row, ok := r.get([]byte{tableStanding})
	if !ok {
		return Standing{}
	}
	f := readRow(row)
	s := Standing{
		Index: f.uint(), Term: f.uint(), Level: uint32(f.uint()), Cluster: append([]byte(nil), f.bytes()...),
		Epoch: f.uint(), StampMS: f.int(), Offset: f.uint(), Digest: f.fixed(),
	}
	r.check(f.done(tableStanding))
	return s
}

// fold takes a command's write set into the running digest. The command's own token goes in too, so that one which
// writes nothing still counts.
func (s *Standing) fold(at lock.Token, writes uint64) {
	w := rowWriter(make([]byte, 0, 24))
	w.fixed(s.Digest)
	w.fixed(uint64(at))
	w.fixed(writes)
	s.Digest = xxhash.Sum64(w)
}
