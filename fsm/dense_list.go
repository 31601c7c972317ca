package fsm

import (
	"encoding/binary"
	"fmt"
)

// denseList is a list whose members lie in the places 0 to n-1 without gaps, in no order. All members are read by n+1 point
// reads. A scan would walk the tombstones of former members too: after ten thousand hand-offs that takes 10 ms, for an empty
// answer.
type denseList struct {
	index  byte // table: member -> its place
	places byte // table: place -> member; the key without a place holds the count of members
}

var (
	contestedList = denseList{index: tableContested, places: tableContestedPlace}
	livingList    = denseList{index: tableLiving, places: tableLivingPlace}
)

func (l denseList) countKey() []byte { return []byte{l.places} }

func (l denseList) placeKey(place uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{l.places}, place)
}

func (r *tableReader) countMembers(l denseList) uint64 {
	n, _ := r.readNumber(l.countKey())
	return n
}

// readMembers returns the members of a list, at most limit of them, all for 0. A member is its key in the index table without
// the table's letter.
func (r *tableReader) readMembers(l denseList, limit int) (members [][]byte) {
	n := r.countMembers(l)
	if limit > 0 {
		n = min(n, uint64(limit))
	}
	for place := uint64(0); place < n && r.err == nil; place++ {
		member, ok := r.getRow(l.placeKey(place))
		if !ok {
			r.noteError(fmt.Errorf("list %q has no member in place %d of %d", l.places, place, n))
			break
		}
		members = append(members, member)
	}
	return members
}

// addMember adds the member with a key of the index table, which must not be in the list.
func (t *tableWriter) addMember(l denseList, key []byte) {
	n := t.countMembers(l)
	t.putRow(l.placeKey(n), key[1:])
	t.putNumber(key, n)
	t.putNumber(l.countKey(), n+1)
}

// removeMember removes a member that is in the list, and moves the last one to its place.
func (t *tableWriter) removeMember(l denseList, key []byte) {
	place, _ := t.readNumber(key)
	last := t.countMembers(l) - 1
	if place != last {
		moved, _ := t.getRow(l.placeKey(last))
		t.putRow(l.placeKey(place), moved)
		t.putNumber(append([]byte{l.index}, moved...), place)
	}
	t.deleteRow(l.placeKey(last))
	t.deleteRow(key)
	t.putNumber(l.countKey(), last)
}

// readNumber reads a row that holds a number.
func (r *tableReader) readNumber(key []byte) (n uint64, ok bool) {
	row, ok := r.getRow(key)
	if !ok {
		return 0, false
	}
	f := newRowReader(row)
	n = f.readUint()
	r.noteError(f.finishRow(key[0]))
	return n, true
}

func (t *tableWriter) putNumber(key []byte, n uint64) {
	w := newRowWriter(10)
	w.writeUint(n)
	t.putRow(key, w)
}
