package liveness

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/profilenode/profilenode/lock"
)

const (
	pingTimeout     = time.Second // a ping that takes longer has no result
	maxRoutinePings = 64          // pings of open streams that run at the same time
	maxChasePings   = 256         // pings after the end of a stream that run at the same time
	maxChasePause   = time.Second // longest pause after a ping that was not refused, while the end of a stream is investigated
)

// pingResult is the result of one ping.
type pingResult uint8

const (
	pingSilent  pingResult = iota // no answer, or one that cannot be read
	pingRefused                   // the host answered that the port is closed
	pingAnswered
)

// pingNewStream looks up the ping port of a game server with a new stream and pings it at once. A process that is killed
// a moment later can be proven dead only if it answered before.
func (w *streamObservers) pingNewStream(s *Stream) {
	if !w.findPingPort(s) {
		return
	}
	select {
	case w.routineSlots <- struct{}{}:
		defer func() { <-w.routineSlots }()
		w.pingPort(s)
	case <-w.ctx.Done():
	}
}

// findPingPort looks up the address of the ping port in the tables, and reports whether there is one that may be pinged.
// A port on another host than the stream's is never pinged: its answers prove nothing about the process at the stream's
// end, and a game server must not be able to make a leader dial an address of its choice.
func (w *streamObservers) findPingPort(s *Stream) bool {
	view, err := w.leadership.OpenView()
	if err != nil {
		return false
	}
	defer func() { _ = view.Close() }()
	row, ok, err := view.Server(s.Incarnation)
	if err != nil || !ok || !sameHost(row.Ping, s.PeerHost) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[s.Incarnation]
	if x == nil || x.stream != s {
		return false
	}
	x.pingAddress = row.Ping
	return true
}

// pingPort pings the port once and records the result.
func (w *streamObservers) pingPort(s *Stream) {
	port, ok := w.pingAddressOf(s)
	if !ok {
		return
	}
	began := time.Now()
	inc, came := callPingPort(w.ctx, w.config.Dial, port)
	w.notePing(s, inc, came, began)
}

// pingAddressOf returns the address of the ping port, if s is still the newest stream of its incarnation.
func (w *streamObservers) pingAddressOf(s *Stream) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[s.Incarnation]
	if x == nil || x.stream != s || x.pingAddress == "" {
		return "", false
	}
	return x.pingAddress, true
}

// pingUntilDecided runs after the peer has ended a stream. It pings the port repeatedly until the incarnation has ended,
// on any ground, or has opened another stream.
func (w *streamObservers) pingUntilDecided(s *Stream) {
	w.logStream(s, "lost its stream, its host ended it")
	if _, ok := w.pingAddressOf(s); !ok && !w.findPingPort(s) {
		return
	}
	// A process that ends closes its connections one after the other, so at first its ping port may still accept some.
	again := w.config.Settings.RefusalGap / 4
	for {
		port, ok := w.endedPingAddress(s)
		if !ok {
			return
		}
		select {
		case w.chaseSlots <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		began := time.Now()
		inc, came := callPingPort(w.ctx, w.config.Dial, port)
		<-w.chaseSlots
		if w.notePing(s, inc, came, began) {
			w.logStream(s, "has a ping port that refuses", "port", port)
		}
		w.onPinged(s.Incarnation)
		pause := w.config.Settings.RefusalGap
		if came != pingRefused {
			pause = again
			again = min(2*again, maxChasePause)
		}
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
			return
		}
	}
}

// endedPingAddress returns the address of the ping port while s is the newest stream and its peer has ended it.
func (w *streamObservers) endedPingAddress(s *Stream) (port string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[s.Incarnation]
	if x == nil || x.stream != s || x.state != lock.EndedByPeer {
		return "", false
	}
	return x.pingAddress, true
}

// notePing records the result of a ping that began at the given time. It reports whether it is the first refusal since the
// stream ended.
func (w *streamObservers) notePing(s *Stream, inc lock.Incarnation, came pingResult, began time.Time) (first bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.observers[s.Incarnation]
	if x == nil || x.stream != s {
		return false
	}
	if came == pingRefused && x.state == lock.EndedByPeer {
		first = !x.refusalLogged
		x.refusalLogged = true
		x.noteRefusal(began, now, w.config.Settings)
		return first
	}
	x.clearRefusals()
	switch {
	case came == pingAnswered && inc == s.Incarnation:
		x.everAnswered, x.answeredAt = true, began
	case came == pingAnswered:
		x.otherAnswered = inc // 0 while the process is between two registrations
	}
	return false
}

// noteRefusal counts a refusal. The count starts again after a request, and after a pause that was longer than planned:
// this leader may have been held up, with requests that it has not read yet.
func (x *streamObserver) noteRefusal(began, now time.Time, detector lock.Detector) {
	if x.requestCameBetween() || x.refusals > 0 && now.Sub(x.lastRefusal) > detector.RefusalGap+detector.TickPeriod {
		x.clearRefusals()
	}
	if x.refusals == 0 {
		x.firstRefusedPing, x.firstRefusal = began, now
	}
	x.refusedFor = max(0, began.Sub(x.firstRefusal))
	x.refusals++
	x.lastRefusal = now
	x.otherAnswered = 0
}

// callPingPort connects to a ping port and reads the incarnation that answers.
func callPingPort(ctx context.Context, dial Dial, port string) (lock.Incarnation, pingResult) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	c, err := dial(ctx, "tcp", port)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, pingRefused
	}
	if err != nil {
		return 0, pingSilent
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var frame [lock.PingBytes]byte
	if _, err := io.ReadFull(c, frame[:]); err != nil {
		return 0, pingSilent
	}
	inc, ok := lock.ReadPing(frame[:])
	if !ok {
		return 0, pingSilent
	}
	return inc, pingAnswered
}

func hostOfAddress(address string) (string, bool) {
	host, _, err := net.SplitHostPort(address)
	return host, err == nil
}
