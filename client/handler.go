package client

import "fmt"

// Answer is a handler's answer to a message that it was given.
type Answer uint8

const (
	// AnswerNotMine: the message is for another handler. It is given to the handlers that were added later, and waits if it
	// is none's. The handler must not have changed the data for it.
	AnswerNotMine Answer = iota
	// AnswerDone: its effect is in the data. It is cleared with the next save, which goes out soon, so that its effect and
	// its being gone are stored together or not at all: no copy of the data ever sees it twice.
	AnswerDone
	// AnswerLater: it is this handler's, and cannot be applied yet: the inventory is full, a match is under way. It is given
	// to it again after the next save, after 30 seconds at the latest, and to the next owner if the session ends before.
	// Messages behind it are not held up. The handler must not have changed the data for it.
	AnswerLater
)

func (a Answer) String() string {
	switch a {
	case AnswerDone:
		return "done"
	case AnswerLater:
		return "later"
	}
	return "not mine"
}

// OnMessage handles messages to the profile, those that wait already too: they are given to f before OnMessage returns, all
// others as they come. f may change the data, and runs under the profile's lock: it must not block, and must not call a
// method of the same profile, but for stop. Each message is given to the handlers in the order in which they were added,
// until one says AnswerDone or AnswerLater. Handle is OnMessage for one kind of message, with its body decoded.
//
// stop takes the handler away. It does not wait for a call that is under way, so f may call it.
//
// If f panics, the session is over: the data may be half changed, so unsaved changes are lost, as in a crash. The log counts
// the panic against the message. After the third the message is set aside: it is kept, and offered to no session.
// "profilenode messages" lists it with the text of the panic. (An end of the process is not counted: a fatal error of the Go
// runtime, such as two goroutines that write one map, or os.Exit.)
func (p *Profile[T]) OnMessage(f func(data *T, m Message) Answer) (stop func()) {
	stop = p.onMessage.addHandler(f)
	p.s.inbox.startListening()
	return stop
}

// Handle handles the messages of one kind, with their bodies decoded into an M: as JSON, or for an M of []byte or
// json.RawMessage as they are. Messages of other kinds go on to other handlers, whose answers are those of OnMessage.
//
// A message with a body that does not decode into an M is not given to f. It is logged once in each session, and goes on to
// the handlers that were added later: add an OnMessage after all others to see the messages that none of them takes.
func Handle[T, M any](p *Profile[T], kind Kind, f func(data *T, m M, info Message) Answer) (stop func()) {
	codec := codecFor[M]()
	return p.OnMessage(func(data *T, info Message) Answer {
		if info.Kind != kind {
			return AnswerNotMine
		}
		var m M
		if err := codec.Decode(info.Body, &m); err != nil {
			p.s.client.handlers.reportError(&Error{
				Act: "handle message", Ref: p.s.ref, Kind: ErrInvalid, Code: CodeUnreadable, Cause: err,
				Sentence: fmt.Sprintf("message %d of kind %q from %q cannot be decoded into %T; it waits", info.ID, kind, info.Sender, m),
			})
			return AnswerNotMine
		}
		return f(data, m, info)
	})
}

func (p *Profile[T]) hasMessageHandlers() bool { return !p.onMessage.isEmpty() }

func (p *Profile[T]) offerToHandlers(m Message, after int) (answer Answer, passed int) {
	passed = p.onMessage.callEach(after, func(f func(*T, Message) Answer) bool {
		answer = f(&p.value, m)
		return answer != AnswerDone && answer != AnswerLater
	})
	return answer, passed
}
