package fsm

import (
	"bytes"
	"encoding/binary"

	"github.com/profilenode/profilenode/lock"
)

// leftovers says what an incarnation left when it ended, which decides for how long it is remembered.
type leftovers byte

const (
	nothingLeft   leftovers = iota // no grant, and no answer but the one to its own end
	somethingLeft                  // grants that it may reclaim, or answers that a late copy of a request may ask for
)

// maxForgottenAnswers is the count of answers after which a step of ForgetEnded ends.
const maxForgottenAnswers = 4096

// readMinute returns the count of minutes that leaders ran. Ages are counted in them: timestamps also move while the cluster is
// down, and jump, or stand still for long, when clocks are set.
func (r *tableReader) readMinute() uint64 {
	minute, _ := r.readNumber([]byte{tableMinute})
	return minute
}

func (t *gameServerTable) countMinute() Result {
	t.putNumber([]byte{tableMinute}, t.readMinute()+1)
	return Result{}
}

// firstNotForgotten returns the key from which a scan finds the incarnations that ended with such leftovers and are not
// forgotten. What lies before it is tombstones only, which would be walked each time.
func (r *tableReader) firstNotForgotten(left leftovers) []byte {
	row, ok := r.getRow([]byte{tableForgotten, byte(left)})
	if !ok {
		return endedKey(left, 0, 0)
	}
	f := newRowReader(row)
	minute, id := f.readUint(), lock.Incarnation(f.readUint())
	r.noteError(f.finishRow(tableForgotten))
	return endedKey(left, minute, id+1)
}

// forgetEnded drops all rows of incarnations that ended before a minute; afterwards the outcome of their requests is
// forgotten. Minutes that are not over are left out, so that no later end comes before one that is forgotten.
func (t *gameServerTable) forgetEnded(c *ForgetEnded) Result {
	room, answers, now := min(int(c.Limit), MaxStep), 0, t.readMinute()
	for _, of := range []struct {
		left   leftovers
		before uint64
	}{{nothingLeft, c.NothingLeftBefore}, {somethingLeft, c.Before}} {
		var last []byte
		for _, key := range t.endedBefore(of.left, min(of.before, now), room+1) {
			if room == 0 || answers >= maxForgottenAnswers {
				t.markForgotten(of.left, last)
				return Result{More: true}
			}
			answers += t.forgetIncarnation(incarnationOf(key))
			t.deleteRow(key)
			last = key
			room--
		}
		t.markForgotten(of.left, last)
	}
	return Result{}
}

// endedBefore returns the keys of incarnations that ended before a minute with such leftovers, in the order of their ends.
func (r *tableReader) endedBefore(left leftovers, minute uint64, limit int) (keys [][]byte) {
	from, to := r.firstNotForgotten(left), endedKey(left, minute, 0)
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	r.scanRows(from, to, func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return len(keys) < limit
	})
	return keys
}

// markForgotten records the key of the last incarnation that was forgotten; nil if there is none.
func (t *gameServerTable) markForgotten(left leftovers, key []byte) {
	if key == nil {
		return
	}
	w := newRowWriter(20)
	w.writeUint(binary.BigEndian.Uint64(key[2:]))
	w.writeUint(uint64(incarnationOf(key)))
	t.putRow([]byte{tableForgotten, byte(left)}, w)
}

// forgetIncarnation drops the rows of an ended incarnation, and returns the count of its answers. Its row in the table of ends
// is the caller's. It deletes no range: the rest of the batch would be read through it.
func (t *gameServerTable) forgetIncarnation(id lock.Incarnation) int {
	s, _ := t.readServer(id)
	a := t.readActivity(id)
	answers := t.answerKeysAfter(id, a.Settled, a.Answers)
	for _, key := range answers {
		t.deleteRow(key)
	}
	t.deleteRow(append([]byte{tableNonce}, s.Nonce...))
	t.deleteRow(serverKey(tableServer, id))
	t.deleteRow(serverKey(tableActivity, id))
	return len(answers)
}

// answerKeysAfter returns the keys of the answers to numbers above settled, of which there are so many.
func (r *tableReader) answerKeysAfter(id lock.Incarnation, settled uint64, count int) (keys [][]byte) {
	number := settled + 1
	for ; number <= settled+getsBeforeScan && len(keys) < count; number++ {
		if key := answerKey(id, number); r.hasRow(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) < count {
		r.scanRows(answerKey(id, number), keyAfterPrefix(serverKey(tableAnswer, id)), func(key, _ []byte) bool {
			keys = append(keys, append([]byte(nil), key...))
			return len(keys) < count
		})
	}
	return keys
}
