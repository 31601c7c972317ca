package cluster

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
	pingLimit    = time.Second // for one ping: one that takes longer says nothing
	routinePings = 64          // at a time
	chasePings   = 256         // at a time
	chaseSlowest = time.Second // between two pings of a chase that do not refuse
)

// pingResult is the result of one ping.
type pingResult uint8

const (
	pingMute    pingResult = iota // nothing, or nothing that can be made sense of
	pingRefused                   // the host answered that the port is closed
	pingAnswered
)

// visitStream finds the ping port of a game server whose stream was just opened, and tries it at once: a process that is
// killed a moment later can be proven dead only if it was seen alive.
func (w *streamObservers) visitStream(s *Stream) {
	if !w.findPingPort(s) {
		return
	}
	select {
	case w.tries <- struct{}{}:
		defer func() { <-w.tries }()
		w.pingPort(s)
	case <-w.l.ctx.Done():
	}
}

// findPingPort looks up the ping port. One on another host than the stream came from is never tried: its silence and its
// refusals say nothing about this process, and no client may have a leader dial any address that it likes.
func (w *streamObservers) findPingPort(s *Stream) bool {
	view, err := w.l.node.tables.openView()
	if err != nil {
		return false
	}
	defer view.Close()
	row, ok, err := view.Server(s.Server)
	if err != nil || !ok || !sameHost(row.Ping, s.Peer) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[s.Server]
	if x == nil || x.stream != s {
		return false
	}
	x.port = row.Ping
	return true
}

// pingPort tries the port once, and notes an answer.
func (w *streamObservers) pingPort(s *Stream) {
	port, ok := w.pingAddressOf(s)
	if !ok {
		return
	}
	began := time.Now()
	inc, came := w.callPingPort(port)
	w.notePing(s, inc, came, began)
}

func (w *streamObservers) pingAddressOf(s *Stream) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[s.Server]
	if x == nil || x.stream != s || x.port == "" {
		return "", false
	}
	return x.port, true
}

// pingUntilDecided asks again and again, once the peer has ended a stream, until the process is proven gone, has opened
// another, or counts as gone on another ground.
func (w *streamObservers) pingUntilDecided(s *Stream) {
	w.logStream(s, "lost its stream, its host ended it")
	if _, ok := w.pingAddressOf(s); !ok && !w.findPingPort(s) {
		return
	}
	// A process that dies closes its files one after the other: at first the port may still seem to be there.
	again := w.detector.RefusalGap / 4
	for {
		port, ok := w.endedPingAddress(s)
		if !ok {
			return
		}
		select {
		case w.chases <- struct{}{}:
		case <-w.l.ctx.Done():
			return
		}
		began := time.Now()
		inc, came := w.callPingPort(port)
		<-w.chases
		if w.notePing(s, inc, came, began) {
			w.logStream(s, "has a ping port that refuses", "port", port)
		}
		w.l.detector.addProof(s.Server)
		pause := w.detector.RefusalGap
		if came != pingRefused {
			pause = again
			again = min(2*again, chaseSlowest)
		}
		select {
		case <-time.After(pause):
		case <-w.l.ctx.Done():
			return
		}
	}
}

func (w *streamObservers) endedPingAddress(s *Stream) (port string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[s.Server]
	if x == nil || x.stream != s || x.state != lock.EndedByPeer {
		return "", false
	}
	return x.port, true
}

// notePing takes the result of a ping that began then, and says whether it is the first that was refused.
func (w *streamObservers) notePing(s *Stream, inc lock.Incarnation, came pingResult, began time.Time) (first bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.of[s.Server]
	if x == nil || x.stream != s {
		return false
	}
	if came == pingRefused && x.state == lock.EndedByPeer {
		first = !x.refuses
		x.refuses = true
		x.noteRefusal(began, now, w.detector)
		return first
	}
	x.clearRefusals()
	switch {
	case came == pingAnswered && inc == s.Server:
		x.reached, x.answered = true, began
	case came == pingAnswered:
		x.another = inc // 0: a process that is between two of its lives
	}
	return false
}

// noteRefusal counts a refusal. After a request, and when this one comes later than it was meant to, the count begins again:
// this leader may have been held up, with requests unread.
func (x *streamObserver) noteRefusal(began, now time.Time, detector lock.Detector) {
	if x.requestCameBetween() || x.refused > 0 && now.Sub(x.last) > detector.RefusalGap+detector.TickPeriod {
		x.clearRefusals()
	}
	if x.refused == 0 {
		x.first, x.told = began, now
	}
	x.spread = max(0, began.Sub(x.told))
	x.refused++
	x.last = now
	x.another = 0
}

// callPingPort connects to a ping port and reads the incarnation that answers.
func (w *streamObservers) callPingPort(port string) (lock.Incarnation, pingResult) {
	ctx, cancel := context.WithTimeout(w.l.ctx, pingLimit)
	defer cancel()
	c, err := w.l.node.config.Dial(ctx, "tcp", port)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, pingRefused
	}
	if err != nil {
		return 0, pingMute
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var frame [lock.PingBytes]byte
	if _, err := io.ReadFull(c, frame[:]); err != nil {
		return 0, pingMute
	}
	inc, ok := lock.ReadPing(frame[:])
	if !ok {
		return 0, pingMute
	}
	return inc, pingAnswered
}

func hostOfAddress(address string) (string, bool) {
	host, _, err := net.SplitHostPort(address)
	return host, err == nil
}
