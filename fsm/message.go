package fsm

import (
	"encoding/binary"
	"slices"

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

// encode leaves the body out: it lies in a row of its own, written once, so that a save that locks a thousand messages
// does not write them again.
func (m Message) encode() []byte {
	w := newRow(16 + len(m.Sender))
	w.bool(m.Locked)
	w.string(m.Sender)
	w.int(m.SentMS)
	return w
}

func decodeMessage(id uint64, row []byte) (Message, error) {
	f := readRow(row)
	m := Message{ID: id, Locked: f.bool(), Sender: f.string(), SentMS: f.int()}
	return m, f.done(tableMessage)
}

// message reads one without its body.
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
	t.put(numberedKey(tableMessage, c.Store, c.Key, box.last), Message{Sender: sender.Name, SentMS: t.standing.StampMS}.encode())
	t.put(numberedKey(tableBody, c.Store, c.Key, box.last), c.Body)
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

// marked is the messages that a save locks, without their bodies; false: not every one that it marks is still there, or one
// is named twice.
func (r *reader) marked(store, key string, locks, clears []uint64) ([]Message, bool) {
	seen := make(map[uint64]bool, len(locks)+len(clears))
	locked := make([]Message, 0, len(locks))
	for i, id := range slices.Concat(locks, clears) {
		m, ok := r.message(store, key, id)
		if !ok || seen[id] {
			return nil, false
		}
		if seen[id] = true; i < len(locks) {
			locked = append(locked, m)
		}
	}
	return locked, true
}

func (t *tx) mark(store, key string, locks []Message, clears []uint64) {
	for _, m := range locks {
		if !m.Locked {
			m.Locked = true
			t.put(numberedKey(tableMessage, store, key, m.ID), m.encode())
		}
	}
	for _, id := range clears {
		t.delete(numberedKey(tableMessage, store, key, id))
		t.delete(numberedKey(tableBody, store, key, id))
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
	t.deleteAll(profileKey(tableBody, store, key))
	t.putMailbox(store, key, mailbox{last: box.last})
}

func messageID(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
