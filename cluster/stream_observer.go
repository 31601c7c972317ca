package cluster

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Stream is a game server's stream, as the service sees it that the stream came to. One value is one stream.
type Stream struct {
	Incarnation lock.Incarnation
	PeerHost    string // the host that it came from
}

// AddStream notes that a stream is open, of a game server that proved tables say is alive. It may be told again at each
// renewal, so that a lead which began meanwhile holds the stream from then on.
func (n *Node) AddStream(s *Stream) {
	if l := n.leaderStateNow(); l != nil {
		l.observers.addStream(s)
	}
}

// NoteStreamEnd notes that a stream is over. byPeer says that FIN or RST came from the peer on its connection; whatever else
// ends a stream proves nothing.
func (n *Node) NoteStreamEnd(s *Stream, byPeer bool) {
	if l := n.leaderStateNow(); l != nil {
		l.observers.noteStreamEnd(s, byPeer)
	}
}

// NoteRequest notes that a request of an incarnation came: it may be on its way still, but it speaks for a living process.
func (n *Node) NoteRequest(inc lock.Incarnation) {
	if l := n.leaderStateNow(); l != nil {
		l.observers.noteRequest(inc)
	}
}

// streamObservers is one lead's knowledge of game servers besides their renewals: the state of their streams, and the answers
// of their ping ports answer. It is the lead's own; the next one begins without.
type streamObservers struct {
	leader       *leaderState
	settings     lock.Detector
	routineSlots chan struct{} // a place for each ping of the routine
	chaseSlots   chan struct{} // and for each of a chase, which must not wait behind those

	endedStreams atomic.Int64 // streams that their peer ended and that were not reopened

	mu         sync.Mutex
	observers  map[lock.Incarnation]*streamObserver
	closed     bool
	goroutines sync.WaitGroup // added to under mu while not over
}

// streamObserver is the knowledge about one incarnation.
type streamObserver struct {
	firstSeen time.Time
	stream    *Stream
	state     lock.Stream
	endedAt   time.Time // when the stream ended

	pingAddress  string // of its ping port; empty: none, or not looked up yet
	pingedAt     time.Time
	everAnswered bool
	answeredAt   time.Time // when the ping began that it answered last

	// Since its peer ended the stream.
	refusals         int           // pings, running
	firstRefusedPing time.Time     // when the first of them began
	firstRefusal     time.Time     // when it was refused
	lastRefusal      time.Time     // when the last was
	refusedFor       time.Duration // from told to when the last began
	lastRequest      time.Time     // when a request came last
	otherAnswered    lock.Incarnation
	refusalLogged    bool // the log has been told
}

func newStreamObservers(l *leaderState) *streamObservers {
	return &streamObservers{
		leader: l, settings: l.node.config.Detector, observers: map[lock.Incarnation]*streamObserver{},
		routineSlots: make(chan struct{}, maxRoutinePings), chaseSlots: make(chan struct{}, maxChasePings),
	}
}

// runUntilEnd ends with the lead, and with every ping.
func (w *streamObservers) runUntilEnd() {
	<-w.leader.ctx.Done()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.goroutines.Wait()
}

// startGoroutine needs mu.
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
		return // another one was opened before this one ended
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

// noteRequest is called for every command, so it is quick while no process is being pinged.
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

// signalsOf are all signals of an incarnation but its silence. successor is the one that replaced it, 0 for none.
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
		OtherAnswered: x.otherAnswered != 0, SuccessorAnswered: successor != 0 && x.otherAnswered == successor,
	}
}

// requestCameBetween says that a request came since the first refused ping began.
func (x *streamObserver) requestCameBetween() bool {
	return x.refusals > 0 && !x.lastRequest.Before(x.firstRefusedPing)
}

// answeringIncarnation is the other incarnation that answered on a ping port, 0 for none.
func (w *streamObservers) answeringIncarnation(inc lock.Incarnation) lock.Incarnation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.observers[inc]; x != nil {
		return x.otherAnswered
	}
	return 0
}

// pingDueStreams forgets gone incarnations, and sends out the pings that are due. living holds all living ones that had renewed
// before now. The port of one that was replaced is asked more often, also without a stream: once its successor answers there,
// it is gone.
func (w *streamObservers) pingDueStreams(now time.Time, living map[lock.Incarnation]lock.Timing, replaced map[lock.Incarnation]lock.Incarnation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for inc, x := range w.observers {
		_, alive := living[inc]
		due := x.state == lock.OpenStream && now.Sub(x.pingedAt) >= w.settings.PingPeriod
		if replaced[inc] != 0 && x.state != lock.EndedByPeer { // that one is chased
			due = now.Sub(x.pingedAt) >= w.settings.RefusalGap
		}
		switch {
		case !alive:
			if x.firstSeen.Before(now) {
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
			default: // at the next look
			}
		}
	}
}

// forgetIncarnation needs mu.
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

// onGone forgets the incarnations that the log has ended.
func (w *streamObservers) onGone(events []fsm.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if e.Kind == fsm.ServerEnded {
			w.forgetIncarnation(e.Server)
		}
	}
}

// sameHost says whether a port, host:port, is on a host. Two spellings of one IP are one.
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
