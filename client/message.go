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

// letter is a message that no handler took yet.
type letter struct {
	Message
	passed int  // every handler up to this place said that it is not its own
	later  bool // the next handler wants it later
}

// mailbox is what a session knows of its profile's messages. It belongs to this copy of the data, and is guarded by the
// profile's lock: a handler's change and its mark are one step, and a save carries both or neither.
type mailbox struct {
	seen    uint64 // every message up to here was taken over once; none is ever again, so none is handled twice
	waiting []letter
	handled []uint64    // to be cleared with the next save
	again   *time.Timer // when what a handler wanted later is offered again, at the latest
	due     bool        // there may be messages that were not fetched, for want of a handler
}

// add takes over what it has not seen. Ids rise in the order of the log.
func (b *mailbox) add(messages []*profilev1.Message) {
	for _, m := range messages {
		if m.Id > b.seen {
			b.seen = m.Id
			b.waiting = append(b.waiting, letter{Message: Message{
				ID: m.Id, Kind: Kind(m.Kind), Body: m.Body, Sender: m.Sender, SentAt: time.UnixMilli(m.SentMs), Panics: int(m.Panics),
			}})
		}
	}
}

// marks is a copy of what the next save clears.
func (b *mailbox) marks() []uint64 { return slices.Clone(b.handled[:min(len(b.handled), maxMarks)]) }

// cleared notes that a save has cleared these.
func (b *mailbox) cleared(marks []uint64) {
	b.handled = slices.DeleteFunc(b.handled, func(id uint64) bool { return slices.Contains(marks, id) })
}

// wantNow makes what handlers wanted later due.
func (b *mailbox) wantNow() {
	for i := range b.waiting {
		b.waiting[i].later = false
	}
	if b.again != nil {
		b.again.Stop()
	}
}

// keep drops what is in the store no more.
func (b *mailbox) keep(stored map[uint64]bool) {
	b.handled = slices.DeleteFunc(b.handled, func(id uint64) bool { return !stored[id] })
	b.waiting = slices.DeleteFunc(b.waiting, func(l letter) bool { return !stored[l.ID] })
}

// deliver offers what waits to the handlers that were not offered it yet. It is called under data.
func (s *session) deliver() {
	if s.writable("deliver") != nil {
		return
	}
	before, waiting := len(s.mail.handled), s.mail.waiting
	s.mail.waiting = waiting[:0]
	later := false
	for i, l := range waiting {
		answer, ok := AnswerNotMine, true
		if !l.later {
			answer, ok = s.offer(&l)
		}
		if !ok {
			s.mail.waiting = append(s.mail.waiting, waiting[i:]...)
			return
		}
		if answer == AnswerDone {
			s.mail.handled = append(s.mail.handled, l.ID)
			s.changes.Add(1)
			continue
		}
		l.later = l.later || answer == AnswerLater
		later = later || l.later
		s.mail.waiting = append(s.mail.waiting, l)
	}
	if later && !s.later.Swap(true) {
		s.mail.again = time.AfterFunc(offerLaterAfter, s.offerLater)
	}
	if len(s.mail.handled) > before {
		s.client.saver.soon(s, handledSoon)
	}
}

// offer gives a message to the handlers that did not pass it on yet. false: one of them panicked, and the session is over.
func (s *session) offer(l *letter) (answer Answer, ok bool) {
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
	answer, l.passed = s.body.offer(l.Message, l.passed)
	return answer, true
}

// offerLater offers again, in the background, what handlers wanted later: after a save, or when it is time.
func (s *session) offerLater() {
	if !s.later.Load() {
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

// listen is called after a handler was added.
func (s *session) listen() {
	if s.deliverNow() {
		s.fetch()
	}
}

// deliverNow says whether there may be more that was not fetched for want of a handler.
func (s *session) deliverNow() (due bool) {
	s.data.Lock()
	defer s.data.Unlock() // also if a handler ends its goroutine
	s.deliver()
	due, s.mail.due = s.mail.due, false
	return due
}

// maxPushed is how many pushed messages are kept until they are taken over; then all are fetched.
const maxPushed = 128

// fetch brings new messages in the background, and offers them.
func (s *session) fetch() { s.push(nil) }

// push is fetch for a message that may have come along. nil, or without one: what there is must be asked for.
func (s *session) push(m *profilev1.MessageWaits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun || s.stage != held {
		return // what waits is loaded with the session
	}
	s.unpushed = s.unpushed || m.GetMessage() == nil || m.GetToken() != s.token || len(s.pushed) == maxPushed
	if s.unpushed {
		s.pushed = nil // all that waits comes with the others
	} else {
		s.pushed = append(s.pushed, m)
	}
	s.startFetch()
}

// startFetch is called under mu.
func (s *session) startFetch() {
	if s.fetching {
		s.refetch = true
		return
	}
	s.fetching = s.client.spawn(s.fetchAll)
}

func (s *session) fetchAll() {
	for more := true; more; {
		if !s.takePushed() {
			if err := s.fetchOnce(); err != nil && s.ctx.Err() == nil {
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

// takePushed takes over the messages that were pushed; false: there are others, which must be fetched. A message is of
// this session's own time, so none that an earlier one of this profile handled is handled twice.
func (s *session) takePushed() bool {
	s.mu.Lock()
	pushed, others, again := s.pushed, s.unpushed, s.offerAgain
	s.pushed, s.unpushed, s.offerAgain = nil, false, false
	s.mu.Unlock()
	if !s.data.lockUnless(s.done, s.ctx.Done()) {
		return true // the session is over
	}
	defer s.data.Unlock()
	if again {
		s.mail.wantNow()
		s.later.Store(false)
	}
	if !s.body.listening() {
		s.mail.due = true
		return true
	}
	defer s.deliver()
	for _, m := range pushed {
		if m.After > s.mail.seen {
			return false
		}
		s.mail.add([]*profilev1.Message{m.Message})
	}
	return !others
}

func (s *session) fetchOnce() error {
	for {
		if !s.data.lockUnless(s.done, s.ctx.Done()) {
			return nil
		}
		after := s.mail.seen
		listening := s.body.listening()
		s.mail.due = !listening
		s.data.Unlock()
		if !listening {
			return nil
		}
		page, err := s.fetchPage(after)
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
	s.mail.add(page)
	s.deliver()
	return true
}

// fetchPage is page in its turn: a few profiles fetch at once.
func (s *session) fetchPage(after uint64) ([]*profilev1.Message, error) {
	select {
	case s.client.fetching <- struct{}{}:
		defer func() { <-s.client.fetching }()
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
	return s.page(after)
}

// page is some of the messages above an id, none if there are none.
func (s *session) page(after uint64) ([]*profilev1.Message, error) {
	answer := &profilev1.MessagesResponse{}
	err := s.client.ask(s.ctx, "fetch messages", s.ref, profilev1.Profiles_Messages_FullMethodName,
		&profilev1.MessagesRequest{Store: s.ref.Store, Key: s.ref.Key, After: after}, answer, false)
	return answer.Messages, err
}

// forgetCleared drops the marks of messages that are not in the store any more.
func (s *session) forgetCleared() error {
	stored := make(map[uint64]bool)
	for after := uint64(0); ; {
		page, err := s.page(after)
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
	if !s.data.lockUnless(s.unlessOver(), s.ctx.Done()) {
		return s.writable("save")
	}
	defer s.data.Unlock()
	before := len(s.mail.handled)
	s.mail.keep(stored)
	if len(s.mail.handled) == before {
		return errors.New("every message is there")
	}
	return nil
}
