package client

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// handledSoon is how soon after a handler took a message the save goes out that clears it. A few messages share it.
const handledSoon = 30 * time.Millisecond

// offerLaterAfter is after how long at the latest a message is offered again that a handler wanted later.
const offerLaterAfter = 30 * time.Second

// deliverMessages offers each waiting message to the handlers that were not offered it yet. It is called under data.
func (b *inbox) deliverMessages() {
	s := b.s
	if s.checkWritable("deliver") != nil {
		return
	}
	before, waiting := len(b.handled), b.waiting
	b.waiting = waiting[:0]
	later := false
	for i, l := range waiting {
		answer, ok := AnswerNotMine, true
		if !l.later {
			answer, ok = b.offerMessage(&l)
		}
		if !ok {
			b.waiting = append(b.waiting, waiting[i:]...)
			return
		}
		if answer == AnswerDone {
			b.handled = append(b.handled, l.ID)
			s.changes.Add(1)
			continue
		}
		l.later = l.later || answer == AnswerLater
		later = later || l.later
		b.waiting = append(b.waiting, l)
	}
	if later && !b.handlersWantLater.Swap(true) {
		b.again = time.AfterFunc(offerLaterAfter, b.offerLater)
	}
	if len(b.handled) > before {
		s.client.saver.saveSoon(s, handledSoon)
	}
}

// offerMessage gives a message to the handlers that did not pass it on yet. false: one of them panicked, and the session is
// over.
func (b *inbox) offerMessage(l *waitingMessage) (answer Answer, ok bool) {
	s := b.s
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
func (b *inbox) offerLater() {
	s := b.s
	if !b.handlersWantLater.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sessionActive {
		return
	}
	b.offerAgain = true
	b.startFetch()
}

// startListening is called after a handler was added.
func (b *inbox) startListening() {
	if b.deliverNow() {
		b.fetchMessages()
	}
}

// deliverNow says whether there may be more that was not fetched for want of a handler.
func (b *inbox) deliverNow() (due bool) {
	s := b.s
	s.data.Lock()
	defer s.data.Unlock() // also if a handler ends its goroutine
	b.deliverMessages()
	due, b.due = b.due, false
	return due
}
