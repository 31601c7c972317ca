package fsm

import (
	"bytes"
	"encoding/binary"

	"github.com/profilenode/profilenode/lock"
)

// Message is a note queued to a profile. It is active until its receiver locks it, and gone once that clears it.
type Message struct {
	ID     uint64 // rises by one within the profile, and is never used again
	Body   []byte
	Locked bool
	Sender string
	SentMS int64
}

func (m Message) encode() []byte {
	w := newRow(32 + len(m.Body) + len(m.Sender))
	w.bool(m.Locked)
	w.string(m.Sender)
	w.int(m.SentMS)
	w.bytes(m.Body)
	return w
}

func decodeMessage(id uint64, row []byte) (Message, error) {
	f := readRow(row)
	m := Message{ID: id, Locked: f.bool(), Sender: f.string(), SentMS: f.int(), Body: bytes.Clone(f.bytes())}
	return m, f.done(tableMessage)
}

func (r *reader) message(store, key string, id uint64) (Message, bool) {
	row, ok := r.get(numberedKey(tableMessage, store, key, id))
	if !ok {
		return Message{}, false
	}
	m, err := decodeMessage(id, row)
	r.check(err)
	return m, r.err == nil
}

type mailbox struct {
	last  uint64 // id of the last message ever sent
	count uint64
}

func (r *reader) mailbox(store, key string) mailbox {
	row, ok := r.get(profileKey(tableMailbox, store, key))
	if !ok {
		return mailbox{}
	}
	f := readRow(row)
	b := mailbox{last: f.uint(), count: f.uint()}
	r.check(f.done(tableMailbox))
	return b
}

func (t *tx) putMailbox(store, key string, b mailbox) {
	w := newRow(20)
	w.uint(b.last)
	w.uint(b.count)
	t.put(profileKey(tableMailbox, store, key), w)
}

func (t *tx) send(server lock.Incarnation, c *Send) Result {
	if !wellFormed(c.Store, c.Key) || len(c.Body) > MaxMessage {
		return Result{Code: Invalid}
	}
	box := t.mailbox(c.Store, c.Key)
	if limit := uint64(max(t.policy(c.Store, PolicyMaxMessages), 0)); box.count >= limit {
		return Result{Code: MailboxFull, Limit: limit}
	}
	sender, _ := t.server(server)
	before := box.last
	if box.count == 0 {
		before = 0
	}
	box.last++
	box.count++
	t.putMailbox(c.Store, c.Key, box)
	t.put(numberedKey(tableMessage, c.Store, c.Key, box.last), Message{
		Body: c.Body, Sender: sender.Name, SentMS: t.standing.StampMS,
	}.encode())
	grant := t.touch(c.Store, c.Key)
	if grant.holds() {
		t.tell(Event{
			Kind: MessageWait, Server: grant.Owner, Store: c.Store, Key: c.Key, Token: grant.Token, Message: box.last,
			After: before, Body: string(c.Body), Sender: sender.Name, SentMS: t.standing.StampMS,
		})
	}
	return Result{Message: box.last, Token: grant.Token}
}

// clearMessage takes a message away without its effect. A locked one is its receiver's alone.
func (t *tx) clearMessage(server lock.Incarnation, c *ClearMessage) Result {
	if !wellFormed(c.Store, c.Key) {
		return Result{Code: Invalid}
	}
	grant := t.touch(c.Store, c.Key)
	m, ok := t.message(c.Store, c.Key, c.Id)
	if !ok {
		return Result{Code: NoMessage}
	}
	if m.Locked && grant.MayWrite(server, lock.Token(c.Token)) != lock.None {
		return Result{Code: Fenced, Token: grant.Token}
	}
	t.mark(c.Store, c.Key, nil, []uint64{c.Id})
	return Result{Message: c.Id, Token: grant.Token}
}

// canMark says whether every message that a save marks is still there, each named once.
func (r *reader) canMark(store, key string, locks, clears []uint64) bool {
	seen := make(map[uint64]bool, len(locks)+len(clears))
	for _, ids := range [][]uint64{locks, clears} {
		for _, id := range ids {
			if seen[id] || !r.has(numberedKey(tableMessage, store, key, id)) {
				return false
			}
			seen[id] = true
		}
	}
	return true
}

func (t *tx) mark(store, key string, locks, clears []uint64) {
	for _, id := range locks {
		m, ok := t.message(store, key, id)
		if ok && !m.Locked {
			m.Locked = true
			t.put(numberedKey(tableMessage, store, key, id), m.encode())
		}
	}
	for _, id := range clears {
		t.delete(numberedKey(tableMessage, store, key, id))
	}
	if len(clears) > 0 {
		box := t.mailbox(store, key)
		box.count -= uint64(len(clears))
		t.putMailbox(store, key, box)
	}
}

func (t *tx) clearMailbox(store, key string) {
	box := t.mailbox(store, key)
	if box.count == 0 {
		return
	}
	t.deleteAll(profileKey(tableMessage, store, key))
	t.putMailbox(store, key, mailbox{last: box.last})
}

func messageID(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
