package client

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// maxMarks is how many messages one save may clear; the log refuses more than 1,024.
const maxMarks = 1000

// handledSoon is how soon after a handler took a message the save goes out that clears it. A few messages share it.
const handledSoon = 30 * time.Millisecond

// offerLaterAfter is after how long at the latest a message is offered again that a handler wanted later.
const offerLaterAfter = 30 * time.Second

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
// and is guarded by the profile's lock: a handler's change and its mark are one step, and a save carries both or neither.
type inbox struct {
	seen    uint64 // every message up to here was taken over once; none is ever again, so none is handled twice
	waiting []waitingMessage
	handled []uint64    // to be cleared with the next save
	again   *time.Timer // offers a message for later again, at the latest
	due     bool        // there may be messages that were not fetched, for want of a handler
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

// deliverMessages offers each waiting message to the handlers that were not offered it yet. It is called under data.
func (s *session) deliverMessages() {
	if s.checkWritable("deliver") != nil {
		return
	}
	before, waiting := len(s.inbox.handled), s.inbox.waiting
	s.inbox.waiting = waiting[:0]
	later := false
	for i, l := range waiting {
		answer, ok := AnswerNotMine, true
		if !l.later {
			answer, ok = s.offerMessage(&l)
		}
		if !ok {
			s.inbox.waiting = append(s.inbox.waiting, waiting[i:]...)
			return
		}
		if answer == AnswerDone {
			s.inbox.handled = append(s.inbox.handled, l.ID)
			s.changes.Add(1)
			continue
		}
		l.later = l.later || answer == AnswerLater
		later = later || l.later
		s.inbox.waiting = append(s.inbox.waiting, l)
	}
	if later && !s.messagesLater.Swap(true) {
		s.inbox.again = time.AfterFunc(offerLaterAfter, s.offerLater)
	}
	if len(s.inbox.handled) > before {
		s.client.saver.saveSoon(s, handledSoon)
	}
}

// offerMessage gives a message to the handlers that did not pass it on yet. false: one of them panicked, and the session is
// over.
func (s *session) offerMessage(l *waitingMessage) (answer Answer, ok bool) {
	defer func() {
		if ok {
			return
		}
		value := recover()
		if value == nil {
			value = errGoexit
		}
		which := fmt.Sprintf("a handler of message %d", l.ID)
		if l.Kind != "" {
			which += fmt.Sprintf(" of kind %q", l.Kind)
		}
		s.endByPanic(which, value, debug.Stack(), &profilev1.MessagePanic{Message: l.ID, Text: panicText(value)})
	}()
	answer, l.passed = s.body.offerToHandlers(l.Message, l.passed)
	return answer, true
}

// offerLater offers again, in the background, the messages that handlers wanted later: after a save, or when it is time.
func (s *session) offerLater() {
	if !s.messagesLater.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun || s.stage != held {
		return
	}
	s.offerAgain = true
	s.startFetch()
}

// startListening is called after a handler was added.
func (s *session) startListening() {
	if s.deliverNow() {
		s.fetchMessages()
	}
}

// deliverNow says whether there may be more that was not fetched for want of a handler.
func (s *session) deliverNow() (due bool) {
	s.data.Lock()
	defer s.data.Unlock() // also if a handler ends its goroutine
	s.deliverMessages()
	due, s.inbox.due = s.inbox.due, false
	return due
}

// maxPushed is how many pushed messages are kept until they are taken over; then all are fetched.
const maxPushed = 128

// fetchMessages brings new messages in the background, and offers them.
func (s *session) fetchMessages() { s.noteMessagesWait(nil) }

// noteMessagesWait takes the news that messages wait; one of them may have come along. If m is nil or carries none, the
// messages must be fetched.
func (s *session) noteMessagesWait(m *profilev1.MessageWaits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun || s.stage != held {
		return // waiting messages are loaded with the session
	}
	s.morePushed = s.morePushed || m.GetMessage() == nil || m.GetToken() != s.token || len(s.pushedMessages) == maxPushed
	if s.morePushed {
		s.pushedMessages = nil // all that waits comes with the others
	} else {
		s.pushedMessages = append(s.pushedMessages, m)
	}
	s.startFetch()
}

// startFetch is called under mu.
func (s *session) startFetch() {
	if s.fetching {
		s.refetch = true
		return
	}
	s.fetching = s.client.startGoroutine(s.fetchAllPages)
}

func (s *session) fetchAllPages() {
	for more := true; more; {
		if !s.takePushedMessages() {
			if err := s.fetchNextPage(); err != nil && s.ctx.Err() == nil {
				s.client.config.Log.Warn("fetch messages", "profile", s.ref.String(), "error", err)
			}
		}
		s.mu.Lock()
		more = s.refetch && s.stage == held
		s.refetch = false
		s.fetching = more
		s.mu.Unlock()
	}
}

// takePushedMessages takes over the messages that were pushed; false: there are others, which must be fetched. A message is
// of this session's own time, so none that an earlier one of this profile handled is handled twice.
func (s *session) takePushedMessages() bool {
	s.mu.Lock()
	pushed, others, again := s.pushedMessages, s.morePushed, s.offerAgain
	s.pushedMessages, s.morePushed, s.offerAgain = nil, false, false
	s.mu.Unlock()
	if !s.data.lockUnless(s.done, s.ctx.Done()) {
		return true // the session is over
	}
	defer s.data.Unlock()
	if again {
		s.inbox.makeAllDue()
		s.messagesLater.Store(false)
	}
	if !s.body.hasMessageHandlers() {
		s.inbox.due = true
		return true
	}
	defer s.deliverMessages()
	for _, m := range pushed {
		if m.After > s.inbox.seen {
			return false
		}
		s.inbox.addLoaded([]*profilev1.Message{m.Message})
	}
	return !others
}

func (s *session) fetchNextPage() error {
	for {
		if !s.data.lockUnless(s.done, s.ctx.Done()) {
			return nil
		}
		after := s.inbox.seen
		listening := s.body.hasMessageHandlers()
		s.inbox.due = !listening
		s.data.Unlock()
		if !listening {
			return nil
		}
		page, err := s.fetchPageOrEnd(after)
		if err != nil || len(page) == 0 {
			return err
		}
		if !s.takePage(page) {
			return nil
		}
	}
}

// takePage takes over messages that were fetched. false: the session is over.
func (s *session) takePage(page []*profilev1.Message) bool {
	if !s.data.lockUnless(s.done, s.ctx.Done()) {
		return false
	}
	defer s.data.Unlock() // also if a handler ends its goroutine
	s.inbox.addLoaded(page)
	s.deliverMessages()
	return true
}

// fetchPageOrEnd is page in its turn: a few profiles fetch at once.
func (s *session) fetchPageOrEnd(after uint64) ([]*profilev1.Message, error) {
	select {
	case s.client.fetching <- struct{}{}:
		defer func() { <-s.client.fetching }()
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
	return s.requestPage(after)
}

// requestPage is some of the messages above an id, none if there are none.
func (s *session) requestPage(after uint64) ([]*profilev1.Message, error) {
	answer := &profilev1.MessagesResponse{}
	err := s.client.readUntilAnswered(s.ctx, "fetch messages", s.ref, profilev1.Profiles_Messages_FullMethodName,
		&profilev1.MessagesRequest{Store: s.ref.Store, Key: s.ref.Key, After: after}, answer, false)
	return answer.Messages, err
}

// forgetCleared drops the marks of messages that are not in the store any more.
func (s *session) forgetCleared() error {
	stored := make(map[uint64]bool)
	for after := uint64(0); ; {
		page, err := s.requestPage(after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			stored[m.Id] = true
			after = max(after, m.Id)
		}
	}
	if !s.data.lockUnless(s.doneUnlessKept(), s.ctx.Done()) {
		return s.checkWritable("save")
	}
	defer s.data.Unlock()
	before := len(s.inbox.handled)
	s.inbox.keepStored(stored)
	if len(s.inbox.handled) == before {
		return errors.New("every message is there")
	}
	return nil
}
