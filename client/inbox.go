package client

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// maxMarks is how many messages one save may clear; the log refuses more than 1,024.
const maxMarks = 1000

// Message is a note that was sent to a profile. It waits there until a handler of the profile's owner takes it.
type Message struct {
	ID     uint64 // rises within the profile
	Kind   Kind   // as sent; may be empty
	Body   []byte // as sent; JSON unless the sender sent bytes
	Sender string // name of the game server or tool that sent it
	SentAt time.Time
	Panics int // of handlers that were given it in earlier sessions; with the third it is set aside
}

// Decode fills value with the JSON of the body.
func (m Message) Decode(value any) error { return JSON{}.Decode(m.Body, value) }

// waitingMessage is a message that no handler took yet.
type waitingMessage struct {
	Message
	passed int  // every handler up to this place said that it is not its own
	later  bool // the next handler wants it later
}

// inbox holds the messages of a session's profile, as far as the session knows them. It belongs to this copy of the data,
// and the profile's lock guards it, but for messages that are being fetched: a handler's change and its mark are one step, and a save
// carries both or neither.
type inbox struct {
	s *session

	// Guarded by session.data.
	seen    uint64 // every message up to here was taken over once; none is ever again, so none is handled twice
	waiting []waitingMessage
	handled []uint64    // to be cleared with the next save
	again   *time.Timer // offers a message for later again, at the latest
	due     bool        // there may be messages that were not fetched, for want of a handler

	handlersWantLater atomic.Bool // a handler wants to be given a message again

	// Guarded by session.mu.
	fetching   bool
	fetchAgain bool                      // when the fetch under way is done
	pushed     []*profilev1.MessageWaits // to be taken over
	othersWait bool                      // there are others than those pushed, which must be fetched
	offerAgain bool                      // messages that handlers wanted later
}

// addLoaded adds the messages that the inbox has not seen. Ids rise in the order of the log.
func (b *inbox) addLoaded(messages []*profilev1.Message) {
	for _, m := range messages {
		if m.Id > b.seen {
			b.seen = m.Id
			b.waiting = append(b.waiting, waitingMessage{Message: Message{
				ID: m.Id, Kind: Kind(m.Kind), Body: m.Body, Sender: m.Sender, SentAt: time.UnixMilli(m.SentMs), Panics: int(m.Panics),
			}})
		}
	}
}

// handledIDs copies the ids of the messages that the next save clears.
func (b *inbox) handledIDs() []uint64 { return slices.Clone(b.handled[:min(len(b.handled), maxMarks)]) }

// dropCleared notes that a save has cleared these.
func (b *inbox) dropCleared(marks []uint64) {
	b.handled = slices.DeleteFunc(b.handled, func(id uint64) bool { return slices.Contains(marks, id) })
}

// makeAllDue makes the messages due that handlers wanted later.
func (b *inbox) makeAllDue() {
	for i := range b.waiting {
		b.waiting[i].later = false
	}
	if b.again != nil {
		b.again.Stop()
	}
}

// keepStored drops the messages that are no longer in the store.
func (b *inbox) keepStored(stored map[uint64]bool) {
	b.handled = slices.DeleteFunc(b.handled, func(id uint64) bool { return !stored[id] })
	b.waiting = slices.DeleteFunc(b.waiting, func(l waitingMessage) bool { return !stored[l.ID] })
}
