package game

import (
	"context"
	"sync"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// watchEvery is from one look at a session to the next. After a gap, for example since this process was stopped, the first look
// counts like every other.
const watchEvery = 2 * time.Millisecond

// watchedSession is a session, and when it was seen active last.
type watchedSession struct {
	profile *client.Profile[history.Doc]
	session history.Event // Key, Session, Loads and Process
	active  time.Duration // the start of the last look that found it active; 0: none did
	told    time.Duration // the same, as far as an event has said it
	done    int           // looks since Done was closed
}

// watcher looks again and again whether sessions are active.
type watcher struct {
	events *recorder

	mu  sync.Mutex
	all map[*watchedSession]struct{}
}

const (
	tellEvery    = 250 * time.Millisecond // so that a process that is killed has told how far its sessions were active
	looksAfter   = 500                    // at a session that is done: it must never be active again
	watchedLimit = 400                    // sessions that are watched at once
)

func newWatcher(events *recorder) *watcher {
	return &watcher{events: events, all: map[*watchedSession]struct{}{}}
}

// add begins to watch a session.
func (w *watcher) add(p *client.Profile[history.Doc], session history.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) < watchedLimit {
		w.all[&watchedSession{profile: p, session: session}] = struct{}{}
	}
}

func (w *watcher) watchUntilDone(ctx context.Context) {
	for tick := time.NewTicker(watchEvery); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.lookAtAll()
		}
	}
}

func (w *watcher) lookAtAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.all {
		w.look(s)
		if s.done > looksAfter {
			w.tell(s)
			delete(w.all, s)
		}
	}
}

func (w *watcher) look(s *watchedSession) {
	at := w.events.now()
	if s.profile.IsActive() {
		s.active = at
	}
	select {
	case <-s.profile.Done():
		s.done++
	default:
	}
	if s.active-s.told >= tellEvery {
		w.tell(s)
	}
}

// tell writes when the session was active last, if it has not done so.
func (w *watcher) tell(s *watchedSession) {
	if s.active == s.told {
		return
	}
	s.told = s.active
	e := s.session
	e.Type, e.Action, e.Time = history.Info, history.Active, s.active
	w.events.record(e)
}

func (w *watcher) endAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.all {
		w.tell(s)
	}
}
