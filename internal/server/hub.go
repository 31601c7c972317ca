package server

import (
	"sync"
	"sync/atomic"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Hub passes what the log tells to the stream of the game server that it concerns. It exists before the node does:
// cluster.Config.OnEvents is its Tell.
//
// What it is told may get lost, on a full mailbox or for want of a stream. Nothing depends on it: a renewal compares
// held sets, repeats what is asked of the owner, and after a loss looks for waiting messages too.
type Hub struct {
	mu     sync.Mutex
	boxes  map[lock.Incarnation]*mailbox
	closed *profilev1.Goodbye // what every new stream is told at once; nil: open
}

// mailboxEvents is how many events wait for a stream that is slow to take them.
const mailboxEvents = 128

// pushedBody is the largest body of a message, in bytes, that goes along with the event: so much may wait in each mailbox.
const pushedBody = 4 << 10

// mailbox is where the events for one stream wait.
type mailbox struct {
	server  lock.Incarnation
	events  chan *profilev1.Event
	missed  atomic.Bool        // an event may have been lost since this was last taken back
	ended   chan struct{}      // closed when the stream is to end
	goodbye *profilev1.Goodbye // why; written before ended closes
}

// NewHub is a hub without streams.
func NewHub() *Hub { return &Hub{boxes: map[lock.Incarnation]*mailbox{}} }

// Tell hands events over. It never waits: what does not fit is dropped.
func (h *Hub) Tell(events []fsm.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.boxes) == 0 {
		return
	}
	for _, e := range events {
		box, ok := h.boxes[e.Server]
		if !ok {
			continue
		}
		if e.Kind == fsm.ServerEnded {
			h.end(box, &profilev1.Goodbye{ServerGone: true})
			continue
		}
		select {
		case box.events <- wire(e):
		default:
			box.missed.Store(true)
		}
	}
}

// open makes the mailbox of an incarnation's new stream; an older stream of it is told goodbye.
func (h *Hub) open(server lock.Incarnation) *mailbox {
	box := &mailbox{server: server, events: make(chan *profilev1.Event, mailboxEvents), ended: make(chan struct{})}
	box.missed.Store(true) // whatever was told before there was a stream
	h.mu.Lock()
	defer h.mu.Unlock()
	if older, ok := h.boxes[server]; ok {
		h.end(older, &profilev1.Goodbye{})
	}
	h.boxes[server] = box
	if h.closed != nil {
		h.end(box, h.closed)
	}
	return box
}

// leave takes a mailbox away whose stream is over.
func (h *Hub) leave(box *mailbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boxes[box.server] == box {
		delete(h.boxes, box.server)
	}
}

// dismiss tells every stream to end.
func (h *Hub) dismiss(goodbye *profilev1.Goodbye) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, box := range h.boxes {
		h.end(box, goodbye)
	}
}

// shut dismisses every stream, and every one that is opened later.
func (h *Hub) shut(goodbye *profilev1.Goodbye) {
	h.mu.Lock()
	h.closed = goodbye
	h.mu.Unlock()
	h.dismiss(goodbye)
}

// end is called under the lock, once for each mailbox: it leaves the map with it.
func (h *Hub) end(box *mailbox, goodbye *profilev1.Goodbye) {
	delete(h.boxes, box.server)
	box.goodbye = goodbye
	close(box.ended)
}

func wire(e fsm.Event) *profilev1.Event {
	switch e.Kind {
	case fsm.Granted:
		return &profilev1.Event{What: &profilev1.Event_Granted{Granted: &profilev1.Granted{
			Store: e.Store, Key: e.Key, Token: uint64(e.Token), Ticket: uint64(e.Ticket),
		}}}
	case fsm.LetGo:
		return letGo(e.Store, e.Key, e.Token, e.Cause == lock.Freed)
	case fsm.Lost:
		return lost(e.Store, e.Key, e.Token, e.Cause)
	case fsm.MessageWait:
		event := messageWaits(e.Store, e.Key, e.Message)
		if len(e.Body) <= pushedBody {
			w := event.GetMessage()
			w.Message = &profilev1.Message{Id: e.Message, Body: []byte(e.Body), Kind: e.MessageKind, Sender: e.Sender, SentMs: e.SentMS}
			w.After, w.Token = e.After, uint64(e.Token)
		}
		return event
	}
	return &profilev1.Event{}
}

func letGo(store, key string, token lock.Token, operator bool) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_LetGo{LetGo: &profilev1.LetGo{Store: store, Key: key, Token: uint64(token), Operator: operator}}}
}

func lost(store, key string, token lock.Token, cause lock.Cause) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_Lost{Lost: &profilev1.Lost{Store: store, Key: key, Token: uint64(token), Cause: profilev1.Cause(cause)}}}
}

func messageWaits(store, key string, id uint64) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_Message{Message: &profilev1.MessageWaits{Store: store, Key: key, Id: id}}}
}

func farewell(goodbye *profilev1.Goodbye) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_Goodbye{Goodbye: goodbye}}
}
