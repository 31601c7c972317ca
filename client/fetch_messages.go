package client

import (
	"errors"

	"github.com/profilenode/profilenode/api/profilev1"
)

// maxPushed is how many pushed messages are kept until they are taken over; then all are fetched.
const maxPushed = 128

// fetchMessages brings new messages in the background, and offers them.
func (b *inbox) fetchMessages() { b.noteMessagesWait(nil) }

// noteMessagesWait takes the news that messages wait; one of them may have come along. If m is nil or carries none, the
// messages must be fetched.
func (b *inbox) noteMessagesWait(m *profilev1.MessageWaits) {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != sessionActive {
		return // waiting messages are loaded with the session
	}
	b.othersWait = b.othersWait || m.GetMessage() == nil || m.GetToken() != s.grant.token || len(b.pushed) == maxPushed
	if b.othersWait {
		b.pushed = nil // all that waits comes with the others
	} else {
		b.pushed = append(b.pushed, m)
	}
	b.startFetch()
}

// startFetch fetches in the background. It is called under session.mu.
func (b *inbox) startFetch() {
	s := b.s
	if b.fetching {
		b.fetchAgain = true
		return
	}
	b.fetching = s.client.life.startGoroutine(b.fetchAllPages)
}

func (b *inbox) fetchAllPages() {
	s := b.s
	for more := true; more; {
		if !b.takePushedMessages() {
			if err := b.fetchNextPage(); err != nil && s.ctx.Err() == nil {
				s.client.config.Log.Warn("fetch messages", "profile", s.ref.String(), "error", err)
			}
		}
		s.mu.Lock()
		more = b.fetchAgain && s.state == sessionActive
		b.fetchAgain = false
		b.fetching = more
		s.mu.Unlock()
	}
}

// takePushedMessages takes over the messages that were pushed; false: there are others, which must be fetched. A message is
// of this session's own time, so none that an earlier one of this profile handled is handled twice.
func (b *inbox) takePushedMessages() bool {
	s := b.s
	s.mu.Lock()
	pushed, others, again := b.pushed, b.othersWait, b.offerAgain
	b.pushed, b.othersWait, b.offerAgain = nil, false, false
	s.mu.Unlock()
	if !s.data.lockUnless(s.done, s.ctx.Done()) {
		return true // the session is over
	}
	defer s.data.Unlock()
	if again {
		b.makeAllDue()
		b.handlersWantLater.Store(false)
	}
	if !s.body.hasMessageHandlers() {
		b.due = true
		return true
	}
	defer b.deliverMessages()
	for _, m := range pushed {
		if m.After > b.seen {
			return false
		}
		b.addLoaded([]*profilev1.Message{m.Message})
	}
	return !others
}

func (b *inbox) fetchNextPage() error {
	s := b.s
	for {
		if !s.data.lockUnless(s.done, s.ctx.Done()) {
			return nil
		}
		after := b.seen
		listening := s.body.hasMessageHandlers()
		b.due = !listening
		s.data.Unlock()
		if !listening {
			return nil
		}
		page, err := b.fetchInTurn(after)
		if err != nil || len(page) == 0 {
			return err
		}
		if !b.takePage(page) {
			return nil
		}
	}
}

// takePage takes over messages that were fetched. false: the session is over.
func (b *inbox) takePage(page []*profilev1.Message) bool {
	s := b.s
	if !s.data.lockUnless(s.done, s.ctx.Done()) {
		return false
	}
	defer s.data.Unlock() // also if a handler ends its goroutine
	b.addLoaded(page)
	b.deliverMessages()
	return true
}

// fetchInTurn requests a page when few enough profiles fetch at once.
func (b *inbox) fetchInTurn(after uint64) ([]*profilev1.Message, error) {
	s := b.s
	select {
	case s.client.fetching <- struct{}{}:
		defer func() { <-s.client.fetching }()
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
	return b.requestPage(after)
}

// requestPage reads some of the messages above an id, none if there are none.
func (b *inbox) requestPage(after uint64) ([]*profilev1.Message, error) {
	s := b.s
	answer := &profilev1.MessagesResponse{}
	err := s.client.link.readUntilAnswered(s.ctx, "fetch messages", s.ref, profilev1.Profiles_Messages_FullMethodName,
		&profilev1.MessagesRequest{Store: s.ref.Store, Key: s.ref.Key, After: after}, answer, false)
	return answer.Messages, err
}

// forgetCleared drops the marks of messages that are not in the store any more.
func (b *inbox) forgetCleared() error {
	s := b.s
	stored := make(map[uint64]bool)
	for after := uint64(0); ; {
		page, err := b.requestPage(after)
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
	before := len(b.handled)
	b.keepStored(stored)
	if len(b.handled) == before {
		return errors.New("every message is there")
	}
	return nil
}
