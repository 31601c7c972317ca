package liveness

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Stream is one stream of a game server to this node, as seen by the service that accepted it. Each stream has its own
// value.
type Stream struct {
	Incarnation lock.Incarnation
	PeerHost    string // the host that the stream came from
}

// streamObservers holds one leader's observations of game servers other than their renewals: the states of their streams
// and the answers of their ping ports. The next leader starts without any observation.
type streamObservers struct {
	ctx          context.Context // ends with the leadership
	leadership   Leadership
	config       Config
	onPinged     func(lock.Incarnation) // called after each ping that follows the end of a stream by its peer
	routineSlots chan struct{}          // holds an element for each running ping of an open stream
	chaseSlots   chan struct{}          // the same for pings of ended streams, which must not wait for the others

	endedStreams atomic.Int64 // streams that their peer has ended and that were not opened again

	mu         sync.Mutex
	observers  map[lock.Incarnation]*streamObserver
	closed     bool           // the leadership has ended: no goroutine is started any more
	goroutines sync.WaitGroup // running pings; increased only with mu held and while closed is false
}

// streamObserver holds the observations of one incarnation.
type streamObserver struct {
	firstSeen time.Time   // when its first stream was opened
	stream    *Stream     // its newest stream
	state     lock.Stream // state of the newest stream
	endedAt   time.Time   // when the newest stream ended

	pingAddress  string    // address of its ping port; empty: it has none, or it was not looked up yet
	pingedAt     time.Time // when the last ping of an open stream began
	everAnswered bool      // the port has answered as this incarnation
	answeredAt   time.Time // when the last ping that was answered so began

	// Consecutive refusals of the ping port since the peer ended the stream, with no request between them.
	refusals         int              // number of refused pings
	firstRefusedPing time.Time        // when the first refused ping began
	firstRefusal     time.Time        // when the first refusal arrived
	lastRefusal      time.Time        // when the last refusal arrived
	refusedFor       time.Duration    // from firstRefusal to the beginning of the last refused ping
	lastRequest      time.Time        // when the last request of the incarnation arrived
	otherAnswered    lock.Incarnation // another incarnation that gave the last answer of the port; 0: none
	refusalLogged    bool             // the first refusal since the stream's end was logged
}

func newStreamObservers(
	ctx context.Context, leadership Leadership, c Config, onPinged func(lock.Incarnation),
) *streamObservers {
	return &streamObservers{
		ctx: ctx, leadership: leadership, config: c, onPinged: onPinged, observers: map[lock.Incarnation]*streamObserver{},
		routineSlots: make(chan struct{}, maxRoutinePings), chaseSlots: make(chan struct{}, maxChasePings),
	}
}

// runUntilEnd returns when the leadership and all its pings have ended.
func (w *streamObservers) runUntilEnd() {
	<-w.ctx.Done()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.goroutines.Wait()
}

// startGoroutine runs f, unless the leadership has ended. mu must be held.
func (w *streamObservers) startGoroutine(f func()) {
	if !w.closed {
		w.goroutines.Go(f)
	}
}

func (w *streamObservers) addStream(s *Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[s.Incarnation]
	if x == nil {
		x = &streamObserver{firstSeen: time.Now()}
		w.observers[s.Incarnation] = x
	}
	if x.stream == s {
		return
	}
	if x.state == lock.EndedByPeer {
		w.endedStreams.Add(-1)
	}
	x.stream, x.state, x.pingAddress = s, lock.OpenStream, ""
	x.clearRefusals()
	x.pingedAt = time.Now()
	w.startGoroutine(func() { w.pingNewStream(s) })
}

func (w *streamObservers) noteStreamEnd(s *Stream, byPeer bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[s.Incarnation]
	if x == nil || x.stream != s || x.state != lock.OpenStream {
		return // a newer stream was opened before this one ended
	}
	x.clearRefusals()
	x.refusalLogged = false
	x.endedAt = time.Now()
	if !byPeer {
		x.state = lock.EndedHere
		return
	}
	x.state = lock.EndedByPeer
	w.endedStreams.Add(1)
	w.startGoroutine(func() { w.pingUntilDecided(s) })
}

// noteRequest records a request. It is called for every command, so it takes no lock while no stream has ended.
func (w *streamObservers) noteRequest(inc lock.Incarnation) {
	if inc == 0 || w.endedStreams.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.observers[inc]; x != nil {
		x.lastRequest = time.Now()
	}
}

// clearRefusals forgets the refusals since the stream's end.
func (x *streamObserver) clearRefusals() {
	x.refusals, x.refusedFor, x.otherAnswered = 0, 0, 0
}

// signalsOf returns all signals of an incarnation but its silence. successor is the incarnation that replaced it, 0 for
// none.
func (w *streamObservers) signalsOf(inc lock.Incarnation, now time.Time, successor lock.Incarnation) lock.Signals {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[inc]
	if x == nil {
		return lock.Signals{Replaced: successor != 0}
	}
	return lock.Signals{
		Replaced: successor != 0,
		Stream:   x.state, StreamEndedAgo: now.Sub(x.endedAt),
		SameHost: sameHost(x.pingAddress, x.stream.PeerHost),
		Reached:  x.everAnswered, ReachedAgo: now.Sub(x.answeredAt),
		Refused: x.refusals, RefusedFor: x.refusedFor, RequestSince: x.requestCameBetween(),
		OtherAnswered:     x.otherAnswered != 0,
		SuccessorAnswered: successor != 0 && x.otherAnswered == successor,
	}
}

// requestCameBetween reports whether a request arrived after the first refused ping began.
func (x *streamObserver) requestCameBetween() bool {
	return x.refusals > 0 && !x.lastRequest.Before(x.firstRefusedPing)
}

// answeringIncarnation returns the other incarnation that answered on the ping port of inc, 0 for none.
func (w *streamObservers) answeringIncarnation(inc lock.Incarnation) lock.Incarnation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.observers[inc]; x != nil {
		return x.otherAnswered
	}
	return 0
}

// pingDueStreams forgets incarnations that are not alive and starts the pings that are due. living holds the incarnations
// that were alive when the rows were last read, replaced those of them that have a successor. A replaced incarnation is
// pinged more often, and also without an open stream: once its successor answers on the port, it is proven gone.
func (w *streamObservers) pingDueStreams(
	now time.Time, living map[lock.Incarnation]lock.Timing, replaced map[lock.Incarnation]lock.Incarnation,
) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for inc, x := range w.observers {
		_, alive := living[inc]
		due := x.state == lock.OpenStream && now.Sub(x.pingedAt) >= w.config.Settings.PingPeriod
		if replaced[inc] != 0 && x.state != lock.EndedByPeer { // pingUntilDecided pings it already
			due = now.Sub(x.pingedAt) >= w.config.Settings.RefusalGap
		}
		switch {
		case !alive:
			if x.firstSeen.Before(now) { // else it may have registered after the rows were read
				w.forgetIncarnation(inc)
			}
		case due && x.pingAddress != "":
			select {
			case w.routineSlots <- struct{}{}:
				x.pingedAt = now
				s := x.stream
				w.startGoroutine(func() {
					defer func() { <-w.routineSlots }()
					w.pingPort(s)
				})
			default: // no slot is free: the next tick tries again
			}
		}
	}
}

// forgetIncarnation drops the knowledge of an incarnation. mu must be held.
func (w *streamObservers) forgetIncarnation(inc lock.Incarnation) {
	x := w.observers[inc]
	if x == nil {
		return
	}
	if x.state == lock.EndedByPeer {
		w.endedStreams.Add(-1)
	}
	delete(w.observers, inc)
}

// onGone forgets the incarnations that have ended, from the events of the log.
func (w *streamObservers) onGone(events []fsm.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if e.Kind == fsm.ServerEnded {
			w.forgetIncarnation(e.Server)
		}
	}
}

// sameHost reports whether a ping address, host:port, is on the given host. Different spellings of one IP address are
// equal.
func sameHost(port, host string) bool {
	at, ok := hostOfAddress(port)
	if !ok || host == "" {
		return false
	}
	a, errA := netip.ParseAddr(at)
	b, errB := netip.ParseAddr(host)
	if errA == nil && errB == nil {
		return a.Unmap() == b.Unmap()
	}
	return errA != nil && errB != nil && at == host
}
