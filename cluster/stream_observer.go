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
	Server lock.Incarnation
	Peer   string // the host that it came from
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
	l        *leaderState
	detector lock.Detector
	tries    chan struct{} // a place for each ping of the routine
	chases   chan struct{} // and for each of a chase, which must not wait behind those

	chased atomic.Int64 // streams that their peer ended and that were not reopened

	mu      sync.Mutex
	of      map[lock.Incarnation]*streamObserver
	over    bool
	working sync.WaitGroup // added to under mu while not over
}

// streamObserver is the knowledge about one incarnation.
type streamObserver struct {
	since  time.Time
	stream *Stream
	state  lock.Stream
	over   time.Time // when the stream ended

	port     string // of its ping port; empty: none, or not looked up yet
	asked    time.Time
	reached  bool
	answered time.Time // when the ping began that it answered last

	// Since its peer ended the stream.
	refused int           // pings, running
	first   time.Time     // when the first of them began
	told    time.Time     // when it was refused
	last    time.Time     // when the last was
	spread  time.Duration // from told to when the last began
	request time.Time     // when a request came last
	another lock.Incarnation
	refuses bool // the log has been told
}

func newStreamObservers(l *leaderState) *streamObservers {
	return &streamObservers{
		l: l, detector: l.node.config.Detector, of: map[lock.Incarnation]*streamObserver{},
		tries: make(chan struct{}, routinePings), chases: make(chan struct{}, chasePings),
	}
}

// runUntilEnd ends with the lead, and with every ping.
func (w *streamObservers) runUntilEnd() {
	<-w.l.ctx.Done()
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.working.Wait()
}

// startGoroutine needs mu.
func (w *streamObservers) startGoroutine(f func()) {
	if !w.over {
		w.working.Go(f)
	}
}

func (w *streamObservers) addStream(s *Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[s.Server]
	if x == nil {
		x = &streamObserver{since: time.Now()}
		w.of[s.Server] = x
	}
	if x.stream == s {
		return
	}
	if x.state == lock.EndedByPeer {
		w.chased.Add(-1)
	}
	x.stream, x.state, x.port = s, lock.OpenStream, ""
	x.clearRefusals()
	x.asked = time.Now()
	w.startGoroutine(func() { w.visitStream(s) })
}

func (w *streamObservers) noteStreamEnd(s *Stream, byPeer bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[s.Server]
	if x == nil || x.stream != s || x.state != lock.OpenStream {
		return // another one was opened before this one ended
	}
	x.clearRefusals()
	x.refuses = false
	x.over = time.Now()
	if !byPeer {
		x.state = lock.EndedHere
		return
	}
	x.state = lock.EndedByPeer
	w.chased.Add(1)
	w.startGoroutine(func() { w.pingUntilDecided(s) })
}

// noteRequest is called for every command, so it is quick while no process is being pinged.
func (w *streamObservers) noteRequest(inc lock.Incarnation) {
	if inc == 0 || w.chased.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.of[inc]; x != nil {
		x.request = time.Now()
	}
}

// clearRefusals forgets the refusals since the stream's end.
func (x *streamObserver) clearRefusals() {
	x.refused, x.spread, x.another = 0, 0, 0
}

// signalsOf are all signals of an incarnation but its silence. successor is the one that replaced it, 0 for none.
func (w *streamObservers) signalsOf(inc lock.Incarnation, now time.Time, successor lock.Incarnation) lock.Signals {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[inc]
	if x == nil {
		return lock.Signals{Replaced: successor != 0}
	}
	return lock.Signals{
		Replaced: successor != 0,
		Stream:   x.state, StreamEndedAgo: now.Sub(x.over),
		SameHost: sameHost(x.port, x.stream.Peer),
		Reached:  x.reached, ReachedAgo: now.Sub(x.answered),
		Refused: x.refused, RefusedFor: x.spread, RequestSince: x.requestCameBetween(),
		OtherAnswered: x.another != 0, SuccessorAnswered: successor != 0 && x.another == successor,
	}
}

// requestCameBetween says that a request came since the first refused ping began.
func (x *streamObserver) requestCameBetween() bool {
	return x.refused > 0 && !x.request.Before(x.first)
}

// answeringIncarnation is the other incarnation that answered on a ping port, 0 for none.
func (w *streamObservers) answeringIncarnation(inc lock.Incarnation) lock.Incarnation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.of[inc]; x != nil {
		return x.another
	}
	return 0
}

// visitAll forgets gone incarnations, and sends out the pings that are due. living holds all living ones that had renewed
// before now. The port of one that was replaced is asked more often, also without a stream: once its successor answers there,
// it is gone.
func (w *streamObservers) visitAll(now time.Time, living map[lock.Incarnation]lock.Timing, replaced map[lock.Incarnation]lock.Incarnation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for inc, x := range w.of {
		_, alive := living[inc]
		due := x.state == lock.OpenStream && now.Sub(x.asked) >= w.detector.PingPeriod
		if replaced[inc] != 0 && x.state != lock.EndedByPeer { // that one is chased
			due = now.Sub(x.asked) >= w.detector.RefusalGap
		}
		switch {
		case !alive:
			if x.since.Before(now) {
				w.forgetIncarnation(inc)
			}
		case due && x.port != "":
			select {
			case w.tries <- struct{}{}:
				x.asked = now
				s := x.stream
				w.startGoroutine(func() {
					defer func() { <-w.tries }()
					w.pingPort(s)
				})
			default: // at the next look
			}
		}
	}
}

// forgetIncarnation needs mu.
func (w *streamObservers) forgetIncarnation(inc lock.Incarnation) {
	x := w.of[inc]
	if x == nil {
		return
	}
	if x.state == lock.EndedByPeer {
		w.chased.Add(-1)
	}
	delete(w.of, inc)
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
