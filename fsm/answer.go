package fsm

import (
	"github.com/profilenode/profilenode/lock"
)

// keptAnswer is the kept result of a request that was carried out or refused by the rules: outcome, token, revision and the
// request's hash, never data. The answer table is consulted before every other rule, so that a retry is answered and not
// repeated, also when its incarnation has ended since.
type keptAnswer struct {
	hash uint64
	Result
}

func (a keptAnswer) encode() []byte {
	w := newRowWriter(40)
	w.writeFixed(a.hash)
	w.writeUint(uint64(a.Code))
	w.writeUint(a.Index)
	w.writeUint(uint64(a.Token))
	w.writeUint(a.Revision)
	w.writeUint(a.Message)
	w.writeUint(uint64(a.Owner))
	w.writeUint(a.Limit)
	w.writeUint(a.Place)
	w.writeUint(a.Loads)
	return w
}

func (r *tableReader) readAnswer(id lock.Incarnation, number uint64) (keptAnswer, bool) {
	row, ok := r.getRow(answerKey(id, number))
	if !ok {
		return keptAnswer{}, false
	}
	f := newRowReader(row)
	a := keptAnswer{hash: f.readFixed(), Result: Result{
		Code: Code(f.readUint()), Index: f.readUint(), Token: lock.Token(f.readUint()), Revision: f.readUint(), Message: f.readUint(),
		Owner: lock.Incarnation(f.readUint()), Limit: f.readUint(), Place: f.readUint(), Loads: f.readUint(), Repeated: true,
	}}
	r.noteError(f.finishRow(tableAnswer))
	return a, r.err == nil
}

// answerTable holds the answers to requests, and the parts of data whose request has not come yet.
type answerTable struct {
	*tableWriter
	gameServers *gameServerTable
}

// admitRequest says whether a request may be carried out. If not, the result is its answer.
func (t *answerTable) admitRequest(q *Request, settling bool) (Result, bool) {
	if q == nil || q.Incarnation == 0 || q.Number == 0 || q.Settled >= q.Number {
		return Result{Code: Invalid}, false
	}
	id := lock.Incarnation(q.Incarnation)
	s, known := t.readServer(id)
	if known && q.Registration != lock.Registration(s.Nonce) {
		return Result{Code: OtherRegistration}, false // before the answers, to which the number of another process looks like a clone's
	}
	if a, ok := t.readAnswer(id, q.Number); ok {
		if a.hash != q.Hash {
			t.gameServers.endIncarnation(id, lock.Proof, true) // two processes use one incarnation, and cannot be told apart
			return Result{Code: Cloned}, false
		}
		return a.Result, false
	}
	if !known {
		return Result{Code: Forgotten}, false
	}
	a := t.readActivity(id)
	switch {
	case q.Number <= a.Settled:
		return Result{Code: Forgotten}, false
	case !s.Alive && settling:
		return Result{Code: GivenUp}, false // no command of an ended incarnation applies: this is final
	case !s.Alive:
		return Result{Code: ServerGone}, false
	}
	if q.Settled > a.Settled {
		t.raiseSettledMark(id, a, q.Settled)
		a.Settled = q.Settled
	}
	if q.Number > a.Settled+Window {
		return Result{Code: AcknowledgeFirst, Limit: a.Settled + Window}, false
	}
	return Result{}, true
}

// raiseSettledMark drops the answers and parts up to mark, which the client has settled.
func (t *answerTable) raiseSettledMark(id lock.Incarnation, a Activity, mark uint64) {
	settled := t.answerKeysBelow(id, a.Settled, mark)
	for _, key := range settled {
		t.deleteRow(key)
	}
	a.Answers -= len(settled)
	t.dropParts(id, partKey(id, 0, 0), partKey(id, mark+1, 0))
	a.Settled = mark
	t.putRow(serverKey(tableActivity, id), a.encode())
}

// getsBeforeScan is the greatest count of numbers for which single reads cost less than a scan.
const getsBeforeScan = 16

// answerKeysBelow returns the keys of the answers to numbers above settled, up to mark. There are none beyond the window.
func (t *answerTable) answerKeysBelow(id lock.Incarnation, settled, mark uint64) (keys [][]byte) {
	if mark-settled > Window {
		mark = settled + Window
	}
	if mark-settled <= getsBeforeScan {
		for number := settled + 1; number <= mark; number++ {
			if key := answerKey(id, number); t.hasRow(key) {
				keys = append(keys, key)
			}
		}
		return keys
	}
	t.scanRows(answerKey(id, settled+1), answerKey(id, mark+1), func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return true
	})
	return keys
}

// keepAnswer stores a request's answer, and drops the parts that were put for the request.
func (t *answerTable) keepAnswer(q *Request, done Result) {
	id := lock.Incarnation(q.Incarnation)
	t.putRow(answerKey(id, q.Number), keptAnswer{hash: q.Hash, Result: done}.encode())
	a := t.readActivity(id)
	a.Last = t.token
	a.Answers++
	t.putRow(serverKey(tableActivity, id), a.encode())
	t.dropParts(id, partKey(id, q.Number, 0), partKey(id, q.Number+1, 0))
}

// putPart stores a part of the data of the request with the same number, until that request is answered.
func (t *answerTable) putPart(q *Request, c *PutPart) Result {
	if q == nil || q.Number == 0 || len(c.Bytes) == 0 || len(c.Bytes) > PartBytes || c.Part >= maxParts/PartBytes {
		return Result{Code: Invalid}
	}
	id := lock.Incarnation(q.Incarnation)
	s, known := t.readServer(id)
	a := t.readActivity(id)
	switch {
	case known && q.Registration != lock.Registration(s.Nonce):
		return Result{Code: OtherRegistration}
	case !s.Alive:
		return Result{Code: ServerGone}
	case q.Number <= a.Settled:
		return Result{Code: Forgotten}
	case q.Number > a.Settled+Window:
		return Result{Code: AcknowledgeFirst, Limit: a.Settled + Window}
	case t.hasRow(answerKey(id, q.Number)):
		return Result{} // a late copy: its request has been answered
	}
	key := partKey(id, q.Number, c.Part)
	old, _ := t.getRow(key)
	kept := t.countKeptParts(id) + uint64(len(c.Bytes)) - uint64(len(old))
	if kept > maxParts {
		return Result{Code: TooLarge, Limit: maxParts}
	}
	t.putRow(key, c.Bytes)
	t.setKeptParts(id, kept)
	a.Last = t.token
	t.putRow(serverKey(tableActivity, id), a.encode())
	return Result{}
}

func (r *tableReader) countKeptParts(id lock.Incarnation) uint64 {
	row, ok := r.getRow(serverKey(tablePartBytes, id))
	if !ok {
		return 0
	}
	f := newRowReader(row)
	n := f.readUint()
	r.noteError(f.finishRow(tablePartBytes))
	return n
}

func (t *answerTable) setKeptParts(id lock.Incarnation, n uint64) {
	if n == 0 {
		t.deleteRow(serverKey(tablePartBytes, id))
		return
	}
	w := newRowWriter(10)
	w.writeUint(n)
	t.putRow(serverKey(tablePartBytes, id), w)
}

// dropParts drops an incarnation's parts whose keys are in [from, to).
func (t *answerTable) dropParts(id lock.Incarnation, from, to []byte) {
	kept := t.countKeptParts(id)
	if kept == 0 {
		return
	}
	dropped := uint64(0)
	t.scanRows(from, to, func(_, row []byte) bool {
		dropped += uint64(len(row))
		return true
	})
	if dropped > 0 {
		t.deleteRange(from, to)
		t.setKeptParts(id, kept-dropped)
	}
}
