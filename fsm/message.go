package fsm

import (
	"encoding/binary"

	"github.com/profilenode/profilenode/lock"
)

// Message is a note queued to a profile. It waits until a save of the profile's owner clears it, together with its effect.
type Message struct {
	ID        uint64 // rises by one within the profile, and is never used again
	Body      []byte
	Size      uint64 // bytes of the body
	Kind      string
	Sender    string
	SentMS    int64
	Panics    uint64 // count of the handlers' panics over it
	PanicText string // text of the last panic
}

// SetAside says that the message is kept but not offered, since its handlers panicked MaxPanics times.
func (m Message) SetAside() bool { return m.Panics >= MaxPanics }

// encode leaves the body out: it has a row of its own, which is written once.
func (m Message) encode() []byte {
	w := newRowWriter(32 + len(m.Kind) + len(m.Sender) + len(m.PanicText))
	w.writeString(m.Kind)
	w.writeString(m.Sender)
	w.writeInt(m.SentMS)
	w.writeUint(m.Panics)
	w.writeString(m.PanicText)
	w.writeUint(m.Size)
	return w
}

func decodeMessage(id uint64, row []byte) (Message, error) {
	f := newRowReader(row)
	m := Message{ID: id, Kind: f.readString(), Sender: f.readString(), SentMS: f.readInt(), Panics: f.readUint(), PanicText: f.readString(), Size: f.readUint()}
	return m, f.finishRow(tableMessage)
}

// readMessage reads a message without its body.
func (r *tableReader) readMessage(store, key string, id uint64) (Message, bool) {
	row, ok := r.getRow(numberedKey(tableMessage, store, key, id))
	if !ok {
		return Message{}, false
	}
	m, err := decodeMessage(id, row)
	r.noteError(err)
	return m, r.err == nil
}

// Inbox counts the messages of a profile.
type Inbox struct {
	Last     uint64 // id of the last message ever sent
	Waiting  uint64
	SetAside uint64
	Bytes    uint64 // of the bodies of both
}

func (r *tableReader) readInbox(store, key string) Inbox {
	row, ok := r.getRow(profileKey(tableInbox, store, key))
	if !ok {
		return Inbox{}
	}
	b, err := decodeInbox(row)
	r.noteError(err)
	return b
}

func decodeInbox(row []byte) (Inbox, error) {
	f := newRowReader(row)
	b := Inbox{Last: f.readUint(), Waiting: f.readUint(), SetAside: f.readUint(), Bytes: f.readUint()}
	return b, f.finishRow(tableInbox)
}

// messageTable holds the inboxes of the profiles and their messages.
type messageTable struct {
	*tableWriter
	grants   *grantTable
	policies *policyTable
	audits   *auditTable
}

// putInbox writes an inbox, and updates the table of owners' profiles with messages.
func (t *messageTable) putInbox(store, key string, b Inbox) {
	was := t.readInbox(store, key).Waiting > 0
	if owner := t.readGrant(store, key).Owner; was != (b.Waiting > 0) && owner != 0 && t.isAlive(owner) {
		if was {
			t.deleteRow(ownedKey(tableOwnedInbox, owner, store, key))
		} else {
			t.putRow(ownedKey(tableOwnedInbox, owner, store, key), newRowWriter(0))
		}
	}
	w := newRowWriter(24)
	w.writeUint(b.Last)
	w.writeUint(b.Waiting)
	w.writeUint(b.SetAside)
	w.writeUint(b.Bytes)
	t.putRow(profileKey(tableInbox, store, key), w)
}

func (t *messageTable) sendMessage(server lock.Incarnation, c *Send) Result {
	if !isValidName(c.Store, c.Key) || len(c.Body) > MaxMessage || CheckKind(c.Kind) != nil {
		return Result{Code: Invalid}
	}
	box := t.readInbox(c.Store, c.Key)
	if limit := uint64(max(t.policies.policyValueOf(c.Store, PolicyMaxMessages), 0)); box.Waiting+box.SetAside >= limit {
		return Result{Code: InboxFull, Limit: limit}
	}
	if limit := uint64(max(t.policies.policyValueOf(c.Store, PolicyMaxMessageBytes), 0)); box.Bytes+uint64(len(c.Body)) > limit {
		return Result{Code: InboxFull, Limit: limit}
	}
	sender, _ := t.readServer(server)
	before := box.Last
	if box.Waiting == 0 {
		before = 0
	}
	box.Last++
	box.Waiting++
	box.Bytes += uint64(len(c.Body))
	t.putInbox(c.Store, c.Key, box)
	t.putRow(numberedKey(tableMessage, c.Store, c.Key, box.Last), Message{
		Kind: c.Kind, Sender: sender.Name, SentMS: t.position.StampMS, Size: uint64(len(c.Body)),
	}.encode())
	t.putRow(numberedKey(tableBody, c.Store, c.Key, box.Last), c.Body)
	if days := t.policies.policyValueOf(c.Store, PolicyUnclaimedMessageDays); days > 0 && t.readRecord(c.Store, c.Key).Revision == 0 {
		t.addDue(days, dueMessage, c.Store, c.Key, box.Last)
	}
	grant := t.grants.readGrantPassedOn(c.Store, c.Key)
	if grant.isHeld() {
		t.addEvent(Event{
			Kind: MessageWait, Server: grant.Owner, Store: c.Store, Key: c.Key, Token: grant.Token, Message: box.Last,
			After: before, Body: string(c.Body), MessageKind: c.Kind, Sender: sender.Name, SentMS: t.position.StampMS,
		})
	}
	return Result{Message: box.Last, Token: grant.Token}
}

// clearMessage deletes a message without a save that holds its effect.
func (t *messageTable) clearMessage(c *ClearMessage) Result {
	if !isValidName(c.Store, c.Key) {
		return Result{Code: Invalid}
	}
	grant := t.grants.readGrantPassedOn(c.Store, c.Key)
	if _, ok := t.readMessage(c.Store, c.Key, c.Id); !ok {
		return Result{Code: NoMessage}
	}
	t.clearMessages(c.Store, c.Key, []uint64{c.Id})
	return Result{Message: c.Id, Token: grant.Token}
}

// allMessagesWait says whether every one of these messages is there, and none is named twice.
func (r *tableReader) allMessagesWait(store, key string, ids []uint64) bool {
	seen := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		if !r.hasRow(numberedKey(tableMessage, store, key, id)) || seen[id] {
			return false
		}
		seen[id] = true
	}
	return true
}

// clearMessages deletes messages that are there.
func (t *messageTable) clearMessages(store, key string, ids []uint64) {
	if len(ids) == 0 {
		return
	}
	box := t.readInbox(store, key)
	for _, id := range ids {
		m, _ := t.readMessage(store, key, id)
		box.Bytes -= m.Size
		if m.SetAside() {
			box.SetAside--
		} else {
			box.Waiting--
		}
		t.deleteRow(numberedKey(tableMessage, store, key, id))
		t.deleteRow(numberedKey(tableBody, store, key, id))
	}
	t.putInbox(store, key, box)
}

// countPanics counts each panic of a handler against its message, and sets aside those that reached the limit. A message
// that was cleared meanwhile is passed over, since the release must happen all the same.
func (t *messageTable) countPanics(store, key string, panics []*MessagePanic) {
	for _, p := range panics {
		m, ok := t.readMessage(store, key, p.GetMessage())
		if !ok {
			continue
		}
		before := m.SetAside()
		m.Panics, m.PanicText = m.Panics+1, p.GetText()
		t.putRow(numberedKey(tableMessage, store, key, m.ID), m.encode())
		if m.SetAside() && !before {
			box := t.readInbox(store, key)
			box.Waiting, box.SetAside = box.Waiting-1, box.SetAside+1
			t.putInbox(store, key, box)
		}
	}
}

func (t *messageTable) clearInbox(store, key string) {
	box := t.readInbox(store, key)
	if box.Waiting+box.SetAside == 0 {
		return
	}
	t.deletePrefix(profileKey(tableMessage, store, key))
	t.deletePrefix(profileKey(tableBody, store, key))
	t.putInbox(store, key, Inbox{Last: box.Last})
}

func messageID(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
