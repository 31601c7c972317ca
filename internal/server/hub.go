package server

import (
	"sync"
	"sync/atomic"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Hub passes the log's events to the stream of the game server that they concern. It exists before the node does:
// cluster.Config.OnEvents is its Publish.
//
// An event may get lost, on a full inbox or for want of a stream. Nothing depends on it: a renewal compares
// held sets, repeats the requests to let go, and after a loss looks for waiting messages too.
type Hub struct {
	mu     sync.Mutex
	boxes  map[lock.Incarnation]*eventQueue
	closed *profilev1.StreamEnd // sent to every new stream at once; nil: open
}

// queuedEvents is how many events wait for a stream that is slow to take them.
const queuedEvents = 128

// pushedBody is the largest body of a message, in bytes, that goes along with the event: so much may wait in each mailbox.
const pushedBody = 4 << 10

// eventQueue is where the events for one stream wait.
type eventQueue struct {
	server    lock.Incarnation
	events    chan *profilev1.Event
	missed    atomic.Bool          // an event may have been lost since this was last taken back
	ended     chan struct{}        // closed when the stream is to end
	streamEnd *profilev1.StreamEnd // why; written before ended closes
}

// NewHub is a hub without streams.
func NewHub() *Hub { return &Hub{boxes: map[lock.Incarnation]*eventQueue{}} }

// Publish hands events over. It never waits: events that do not fit are dropped.
func (h *Hub) Publish(events []fsm.Event) {
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
			h.endQueue(box, &profilev1.StreamEnd{ServerGone: true})
			continue
		}
		select {
		case box.events <- eventToWire(e):
		default:
			box.missed.Store(true)
		}
	}
}

// openQueue makes the mailbox of an incarnation's new stream; an older stream of it is told goodbye.
func (h *Hub) openQueue(server lock.Incarnation) *eventQueue {
	box := &eventQueue{server: server, events: make(chan *profilev1.Event, queuedEvents), ended: make(chan struct{})}
	box.missed.Store(true) // whatever was told before there was a stream
	h.mu.Lock()
	defer h.mu.Unlock()
	if older, ok := h.boxes[server]; ok {
		h.endQueue(older, &profilev1.StreamEnd{})
	}
	h.boxes[server] = box
	if h.closed != nil {
		h.endQueue(box, h.closed)
	}
	return box
}

// closeQueue removes the queue of a stream that is over.
func (h *Hub) closeQueue(box *eventQueue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boxes[box.server] == box {
		delete(h.boxes, box.server)
	}
}

// endAllStreams tells every stream to end.
func (h *Hub) endAllStreams(streamEnd *profilev1.StreamEnd) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, box := range h.boxes {
		h.endQueue(box, streamEnd)
	}
}

// shutDown dismisses every stream, and every one that is opened later.
func (h *Hub) shutDown(streamEnd *profilev1.StreamEnd) {
	h.mu.Lock()
	h.closed = streamEnd
	h.mu.Unlock()
	h.endAllStreams(streamEnd)
}

// endQueue is called under the lock, once for each mailbox: it leaves the map with it.
func (h *Hub) endQueue(box *eventQueue, streamEnd *profilev1.StreamEnd) {
	delete(h.boxes, box.server)
	box.streamEnd = streamEnd
	close(box.ended)
}

func eventToWire(e fsm.Event) *profilev1.Event {
	switch e.Kind {
	case fsm.Granted:
		return &profilev1.Event{What: &profilev1.Event_Granted{Granted: &profilev1.Granted{
			Store: e.Store, Key: e.Key, Token: uint64(e.Token), Ticket: uint64(e.Ticket),
		}}}
	case fsm.LetGo:
		return letGoEvent(e.Store, e.Key, e.Token, e.Cause == lock.ReleasedByOperator)
	case fsm.Lost:
		return lostEvent(e.Store, e.Key, e.Token, e.Cause)
	case fsm.MessageWait:
		event := messageWaitsEvent(e.Store, e.Key, e.Message)
		if len(e.Body) <= pushedBody {
			w := event.GetMessage()
			w.Message = &profilev1.Message{Id: e.Message, Body: []byte(e.Body), Kind: e.MessageKind, Sender: e.Sender, SentMs: e.SentMS}
			w.After, w.Token = e.After, uint64(e.Token)
		}
		return event
	}
	return &profilev1.Event{}
}

func letGoEvent(store, key string, token lock.Token, operator bool) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_LetGo{LetGo: &profilev1.LetGo{Store: store, Key: key, Token: uint64(token), Operator: operator}}}
}

func lostEvent(store, key string, token lock.Token, cause lock.Cause) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_Lost{Lost: &profilev1.Lost{Store: store, Key: key, Token: uint64(token), Cause: profilev1.Cause(cause)}}}
}

func messageWaitsEvent(store, key string, id uint64) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_Message{Message: &profilev1.MessageWaits{Store: store, Key: key, Id: id}}}
}

func streamEndEvent(streamEnd *profilev1.StreamEnd) *profilev1.Event {
	return &profilev1.Event{What: &profilev1.Event_StreamEnd{StreamEnd: streamEnd}}
}
