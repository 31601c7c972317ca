package fsm

import (
	"github.com/profilenode/profilenode/lock"
)

// An answer is what is kept of a request that was carried out or refused by the rules: outcome, token, revision and the
// request's hash, never data. It is asked for before every other rule, so that a retry is answered and not repeated,
// also when its incarnation has ended since.
type answer struct {
	hash uint64
	Result
}

func (a answer) encode() []byte {
	w := newRow(40)
	w.fixed(a.hash)
	w.uint(uint64(a.Code))
	w.uint(a.Index)
	w.uint(uint64(a.Token))
	w.uint(a.Revision)
	w.uint(a.Message)
	w.uint(uint64(a.Owner))
	w.uint(a.Limit)
	w.uint(a.Place)
	w.uint(a.Loads)
	return w
}

func (r *reader) answer(id lock.Incarnation, number uint64) (answer, bool) {
	row, ok := r.get(answerKey(id, number))
	if !ok {
		return answer{}, false
	}
	f := readRow(row)
	a := answer{hash: f.fixed(), Result: Result{
		Code: Code(f.uint()), Index: f.uint(), Token: lock.Token(f.uint()), Revision: f.uint(), Message: f.uint(),
		Owner: lock.Incarnation(f.uint()), Limit: f.uint(), Place: f.uint(), Loads: f.uint(), Repeated: true,
	}}
	r.check(f.done(tableAnswer))
	return a, r.err == nil
}

// admit says whether a request may be carried out. If not, the result is its answer.
func (t *tx) admit(q *Request, settling bool) (Result, bool) {
	if q == nil || q.Incarnation == 0 || q.Number == 0 || q.Settled >= q.Number {
		return Result{Code: Invalid}, false
	}
	id := lock.Incarnation(q.Incarnation)
	s, known := t.server(id)
	if known && q.Registration != lock.Registration(s.Nonce) {
		return Result{Code: OtherRegistration}, false // before the answers: to them another process' number looks like a clone's
	}
	if a, ok := t.answer(id, q.Number); ok {
		if a.hash != q.Hash {
			t.end(id, lock.Proof) // two processes use one incarnation: neither can be told from the other
			return Result{Code: Cloned}, false
		}
		return a.Result, false
	}
	if !known {
		return Result{Code: Forgotten}, false
	}
	a := t.activity(id)
	switch {
	case q.Number <= a.Settled:
		return Result{Code: Forgotten}, false
	case !s.Alive && settling:
		return Result{Code: Burned}, false // no command of an ended incarnation applies: this is final
	case !s.Alive:
		return Result{Code: ServerGone}, false
	}
	if q.Settled > a.Settled {
		t.settled(id, a, q.Settled)
		a.Settled = q.Settled
	}
	if q.Number > a.Settled+Window {
		return Result{Code: AcknowledgeFirst, Limit: a.Settled + Window}, false
	}
	return Result{}, true
}

// settled drops the answers that the caller has settled.
func (t *tx) settled(id lock.Incarnation, a Activity, mark uint64) {
	for _, key := range t.answersBelow(id, a.Settled, mark) {
		t.delete(key)
	}
	t.dropParts(id, partKey(id, 0, 0), partKey(id, mark+1, 0))
	a.Settled = mark
	t.put(serverKey(tableActivity, id), a.encode())
}

// fewNumbers is up to how many numbers it costs less to ask for each than to begin a walk over all.
const fewNumbers = 16

// answersBelow are the keys of the answers to numbers above settled, up to mark. There are none beyond the window.
func (t *tx) answersBelow(id lock.Incarnation, settled, mark uint64) (keys [][]byte) {
	if mark-settled > Window {
		mark = settled + Window
	}
	if mark-settled <= fewNumbers {
		for number := settled + 1; number <= mark; number++ {
			if key := answerKey(id, number); t.has(key) {
				keys = append(keys, key)
			}
		}
		return keys
	}
	t.scan(answerKey(id, settled+1), answerKey(id, mark+1), func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return true
	})
	return keys
}

// finish keeps a request's answer, and drops what it left unreferenced.
func (t *tx) finish(q *Request, done Result) {
	id := lock.Incarnation(q.Incarnation)
	t.put(answerKey(id, q.Number), answer{hash: q.Hash, Result: done}.encode())
	a := t.activity(id)
	a.Last = t.at
	t.put(serverKey(tableActivity, id), a.encode())
	t.dropParts(id, partKey(id, q.Number, 0), partKey(id, q.Number+1, 0))
}

// putPart keeps a part of the data of the request with the same number, until that request is answered.
func (t *tx) putPart(q *Request, c *PutPart) Result {
	if q == nil || q.Number == 0 || len(c.Bytes) == 0 || len(c.Bytes) > PartBytes || c.Part >= maxParts/PartBytes {
		return Result{Code: Invalid}
	}
	id := lock.Incarnation(q.Incarnation)
	s, known := t.server(id)
	a := t.activity(id)
	switch {
	case known && q.Registration != lock.Registration(s.Nonce):
		return Result{Code: OtherRegistration}
	case !s.Alive:
		return Result{Code: ServerGone}
	case q.Number <= a.Settled:
		return Result{Code: Forgotten}
	case q.Number > a.Settled+Window:
		return Result{Code: AcknowledgeFirst, Limit: a.Settled + Window}
	case t.has(answerKey(id, q.Number)):
		return Result{} // a late copy: its request has been answered
	}
	key := partKey(id, q.Number, c.Part)
	old, _ := t.get(key)
	kept := t.keptParts(id) + uint64(len(c.Bytes)) - uint64(len(old))
	if kept > maxParts {
		return Result{Code: TooLarge, Limit: maxParts}
	}
	t.put(key, c.Bytes)
	t.keepParts(id, kept)
	a.Last = t.at
	t.put(serverKey(tableActivity, id), a.encode())
	return Result{}
}

func (r *reader) keptParts(id lock.Incarnation) uint64 {
	row, ok := r.get(serverKey(tableParts, id))
	if !ok {
		return 0
	}
	f := readRow(row)
	n := f.uint()
	r.check(f.done(tableParts))
	return n
}

func (t *tx) keepParts(id lock.Incarnation, n uint64) {
	if n == 0 {
		t.delete(serverKey(tableParts, id))
		return
	}
	w := newRow(10)
	w.uint(n)
	t.put(serverKey(tableParts, id), w)
}

// dropParts drops an incarnation's parts whose keys are in [from, to).
func (t *tx) dropParts(id lock.Incarnation, from, to []byte) {
	kept := t.keptParts(id)
	if kept == 0 {
		return
	}
	dropped := uint64(0)
	t.scan(from, to, func(_, row []byte) bool {
		dropped += uint64(len(row))
		return true
	})
	if dropped > 0 {
		t.deleteRange(from, to)
		t.keepParts(id, kept-dropped)
	}
}
