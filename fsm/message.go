package fsm

import (
	"encoding/binary"

	"github.com/profilenode/profilenode/lock"
)

// Message is a note queued to a profile. It waits until a save of the profile's owner clears it, together with its effect.
type Message struct {
	ID        uint64 // rises by one within the profile, and is never used again
	Body      []byte
	Kind      string
	Sender    string
	SentMS    int64
	Panics    uint64 // of the handlers that it was given to
	PanicText string // of the last one
}

// SetAside says that the message's handlers panicked so often that it is kept, and offered to nobody.
func (m Message) SetAside() bool { return m.Panics >= MaxPanics }

// encode leaves the body out: it lies in a row of its own, written once.
func (m Message) encode() []byte {
	w := newRow(32 + len(m.Kind) + len(m.Sender) + len(m.PanicText))
	w.string(m.Kind)
	w.string(m.Sender)
	w.int(m.SentMS)
	w.uint(m.Panics)
	w.string(m.PanicText)
	return w
}

func decodeMessage(id uint64, row []byte) (Message, error) {
	f := readRow(row)
	m := Message{ID: id, Kind: f.string(), Sender: f.string(), SentMS: f.int(), Panics: f.uint(), PanicText: f.string()}
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

// Mailbox counts the messages of a profile.
type Mailbox struct {
	Last     uint64 // id of the last message ever sent
	Waiting  uint64
	SetAside uint64
}

func (r *reader) mailbox(store, key string) Mailbox {
	row, ok := r.get(profileKey(tableMailbox, store, key))
	if !ok {
		return Mailbox{}
	}
	f := readRow(row)
	b := Mailbox{Last: f.uint(), Waiting: f.uint(), SetAside: f.uint()}
	r.check(f.done(tableMailbox))
	return b
}

// putMailbox also keeps the table of owners' profiles with messages in step.
func (t *tx) putMailbox(store, key string, b Mailbox) {
	was := t.mailbox(store, key).Waiting > 0
	if owner := t.grant(store, key).Owner; was != (b.Waiting > 0) && owner != 0 && t.alive(owner) {
		if was {
			t.delete(ownedKey(tableMail, owner, store, key))
		} else {
			t.put(ownedKey(tableMail, owner, store, key), newRow(0))
		}
	}
	w := newRow(20)
	w.uint(b.Last)
	w.uint(b.Waiting)
	w.uint(b.SetAside)
	t.put(profileKey(tableMailbox, store, key), w)
}

func (t *tx) send(server lock.Incarnation, c *Send) Result {
	if !wellFormed(c.Store, c.Key) || len(c.Body) > MaxMessage || CheckKind(c.Kind) != nil {
		return Result{Code: Invalid}
	}
	box := t.mailbox(c.Store, c.Key)
	if limit := uint64(max(t.policy(c.Store, PolicyMaxMessages), 0)); box.Waiting+box.SetAside >= limit {
		return Result{Code: MailboxFull, Limit: limit}
	}
	sender, _ := t.server(server)
	before := box.Last
	if box.Waiting == 0 {
		before = 0
	}
	box.Last++
	box.Waiting++
	t.putMailbox(c.Store, c.Key, box)
	t.put(numberedKey(tableMessage, c.Store, c.Key, box.Last), Message{Kind: c.Kind, Sender: sender.Name, SentMS: t.standing.StampMS}.encode())
	t.put(numberedKey(tableBody, c.Store, c.Key, box.Last), c.Body)
	grant := t.touch(c.Store, c.Key)
	if grant.holds() {
		t.tell(Event{
			Kind: MessageWait, Server: grant.Owner, Store: c.Store, Key: c.Key, Token: grant.Token, Message: box.Last,
			After: before, Body: string(c.Body), MessageKind: c.Kind, Sender: sender.Name, SentMS: t.standing.StampMS,
		})
	}
	return Result{Message: box.Last, Token: grant.Token}
}

// clearMessage takes a message away without its effect.
func (t *tx) clearMessage(c *ClearMessage) Result {
	if !wellFormed(c.Store, c.Key) {
		return Result{Code: Invalid}
	}
	grant := t.touch(c.Store, c.Key)
	if _, ok := t.message(c.Store, c.Key, c.Id); !ok {
		return Result{Code: NoMessage}
	}
	t.clearMessages(c.Store, c.Key, []uint64{c.Id})
	return Result{Message: c.Id, Token: grant.Token}
}

// waitAll says whether every one of these messages is there, and none is named twice.
func (r *reader) waitAll(store, key string, ids []uint64) bool {
	seen := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		if !r.has(numberedKey(tableMessage, store, key, id)) || seen[id] {
			return false
		}
		seen[id] = true
	}
	return true
}

// clearMessages deletes messages that are there.
func (t *tx) clearMessages(store, key string, ids []uint64) {
	if len(ids) == 0 {
		return
	}
	box := t.mailbox(store, key)
	for _, id := range ids {
		if m, _ := t.message(store, key, id); m.SetAside() {
			box.SetAside--
		} else {
			box.Waiting--
		}
		t.delete(numberedKey(tableMessage, store, key, id))
		t.delete(numberedKey(tableBody, store, key, id))
	}
	t.putMailbox(store, key, box)
}

// countPanics counts each panic of a handler against its message, and sets aside those that reached the limit. A message
// that was cleared meanwhile is passed over, since the release must happen all the same.
func (t *tx) countPanics(store, key string, panics []*MessagePanic) {
	for _, p := range panics {
		m, ok := t.message(store, key, p.GetMessage())
		if !ok {
			continue
		}
		before := m.SetAside()
		m.Panics, m.PanicText = m.Panics+1, p.GetText()
		t.put(numberedKey(tableMessage, store, key, m.ID), m.encode())
		if m.SetAside() && !before {
			box := t.mailbox(store, key)
			box.Waiting, box.SetAside = box.Waiting-1, box.SetAside+1
			t.putMailbox(store, key, box)
		}
	}
}

func (t *tx) clearMailbox(store, key string) {
	box := t.mailbox(store, key)
	if box.Waiting+box.SetAside == 0 {
		return
	}
	t.deleteAll(profileKey(tableMessage, store, key))
	t.deleteAll(profileKey(tableBody, store, key))
	t.putMailbox(store, key, Mailbox{Last: box.Last})
}

func messageID(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
