package game

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// worker does one thing after the other.
type worker struct {
	game   *game
	name   string // of the process in the history
	id     int    // within its game server
	random *rand.Rand
	count  int // of things that it made up, for unique names
}

const (
	startLimit = 15 * time.Second // of a StartSession that waits
	callLimit  = 8 * time.Second  // of every other request
)

// chooseKey chooses a key by Zipf's law: few profiles are contested, most are not.
func (w *worker) chooseKey() string {
	zipf := rand.NewZipf(w.random, 1.3, 4, uint64(w.game.settings.Keys-1))
	return fmt.Sprintf("k%d", zipf.Uint64())
}

// unique is a name that nothing else in the run has.
func (w *worker) unique(what string) string {
	w.count++
	return fmt.Sprintf("%s/%s%d", w.name, what, w.count)
}

// roll is true in so many of a hundred cases.
func (w *worker) roll(percent int) bool { return w.random.IntN(100) < percent }

func (w *worker) pause(ctx context.Context, most time.Duration) {
	measure.Sleep(ctx, time.Duration(w.random.Int64N(int64(most))))
}

// session is a session that a worker has.
type session struct {
	*client.Profile[history.Doc]
	worker *worker
	event  history.Event // Process, Key, Session, Loads

	mu    sync.Mutex
	saves []uint64       // operations under way, oldest first
	docs  []*history.Doc // what each saves
	saved int            // Seq of what was acknowledged last

	asked  time.Duration // when the start of the session was asked for
	loaded *history.Doc
	early  sync.Once // a save from before the handlers were there was written down
}

// startSession starts a session; nil: it has none.
func (w *worker) startSession(ctx context.Context, key string, ifOwned client.IfOwned) *session {
	return w.startSessionWithin(ctx, key, ifOwned, startLimit)
}

func (w *worker) startSessionWithin(ctx context.Context, key string, ifOwned client.IfOwned, limit time.Duration) *session {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e := history.Event{Process: w.name, Action: history.Start, Key: key, Steal: ifOwned == client.IfOwnedSteal}
	asked := w.game.events.now()
	op := w.game.events.begin(e)
	p, err := w.game.store.StartSession(ctx, key, ifOwned)
	if err != nil {
		w.game.events.complete(op, e, err)
		return nil
	}
	e.Loads, e.Revision = p.Loads(), int64(p.Revision())
	e.Session = fmt.Sprintf("%s/%s/%d", w.game.settings.Name, key, e.Loads)
	p.Read(func(d *history.Doc) { e.Doc = copyDoc(d) })
	w.game.events.complete(op, e, nil)
	s := &session{Profile: p, worker: w, event: history.Event{Process: w.name, Key: key, Session: e.Session, Loads: e.Loads, Revision: e.Revision}}
	s.asked, s.loaded = asked, e.Doc
	w.game.watcher.add(p, s.event)
	p.OnSave(s.noteSave)
	p.OnAfterSave(s.noteSaved)
	p.OnSessionEnd(s.noteEnd)
	s.mu.Lock()
	if len(s.saves) == 0 && s.saved == 0 {
		s.noteEarlySave(int64(p.Revision()))
	}
	s.mu.Unlock()
	return s
}

// change changes the data; each change has a number of its own.
func (s *session) change(f func(*history.Doc)) bool {
	return s.Update(func(d *history.Doc) { s.number(d); f(d) }) == nil
}

// number makes this session the writer of the data, under the next number.
func (s *session) number(d *history.Doc) {
	if d.Writer != s.event.Session {
		d.Writer, d.Seq = s.event.Session, 0
	}
	d.Seq++
}

// noteSave runs when the data of a save is taken, before it is sent: under the profile's lock, so what it sees is what is saved. It
// gives each save a number of its own, so that no two saves of a session have the same data.
func (s *session) noteSave(d *history.Doc) {
	s.number(d)
	s.beginSave(d)
}

func (s *session) beginSave(d *history.Doc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Seq == s.saved || slices.ContainsFunc(s.docs, func(other *history.Doc) bool { return other.Seq == d.Seq }) {
		return // it is known already
	}
	e := s.event
	e.Action, e.Doc = history.Save, copyDoc(d)
	s.saves = append(s.saves, s.worker.game.events.begin(e))
	s.docs = append(s.docs, e.Doc)
}

// noteSaved runs after each save that stored something or failed, in their order. One that the last save overtook is not told of: it was
// not stored, or it is part of that one.
func (s *session) noteSaved(saved client.Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.saves) == 0 {
		if saved.Err == nil {
			s.noteEarlySave(int64(saved.Revision))
		}
		return
	}
	which := 0
	if saved.Last {
		which = len(s.saves) - 1
	}
	e := s.event
	e.Action, e.Doc, e.Revision = history.Save, s.docs[which], int64(saved.Revision)
	if !errors.Is(saved.Err, client.ErrUnknown) { // else it stays open
		s.worker.game.events.complete(s.saves[which], e, saved.Err)
	}
	if saved.Err == nil {
		s.saved = e.Doc.Seq
	}
	s.saves, s.docs = slices.Delete(s.saves, which, which+1), slices.Delete(s.docs, which, which+1)
}

// noteEarlySave writes down a save that ended the session, for a hand-off, before the handlers were there: of the data as it was
// loaded. s.mu is held.
func (s *session) noteEarlySave(revision int64) {
	if revision <= s.event.Revision {
		return
	}
	s.early.Do(func() {
		e := s.event
		e.Action, e.Doc, e.Time = history.Save, s.loaded, s.asked
		op := s.worker.game.events.begin(e)
		e.Revision = revision
		s.worker.game.events.complete(op, e, nil)
	})
}

// noteEnd runs when the session is over. Of one that ended out of reach the client keeps a copy, and may save it later.
func (s *session) noteEnd(end client.End) {
	over := s.event
	over.Type, over.Action, over.Reason = history.Info, history.Over, end.Reason.String()
	s.worker.game.events.record(over)
	if end.Unsaved {
		s.Read(s.beginSave)
	}
}

// save saves the data as it is now.
func (s *session) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return s.Save(ctx)
}

// end ends the session, with a last save. The history has that save; the end itself may have come before, by a hand-off.
func (s *session) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_ = s.EndSession(ctx)
}

// set overwrites a profile without a session.
func (w *worker) set(ctx context.Context, key string, doc history.Doc, expected int64, options ...client.WriteOption) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	e := history.Event{Process: w.name, Action: history.Set, Key: key, Doc: copyDoc(&doc), Expected: expected}
	at := client.AnyRevision()
	if expected != history.AnyRevision {
		at = client.AtRevision(uint64(expected))
	}
	op := w.game.events.begin(e)
	revision, err := w.game.store.Set(ctx, key, doc, at, options...)
	if errors.Is(err, client.ErrUnknown) && w.roll(50) {
		var settled client.Outcome
		if settled, err = w.settle(err); err == nil {
			revision = settled.Revision
		}
	}
	e.Revision = int64(revision)
	w.game.events.complete(op, e, err)
}

// settle asks what became of a request with an unknown outcome, and returns the error that it had, or now has.
func (w *worker) settle(unknown error) (client.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	settled, err := w.game.client.Outcome(ctx, unknown)
	switch {
	case err != nil:
		return settled, unknown
	case settled.Fate == client.FateHappened:
		return settled, nil
	case settled.Fate == client.FateRefused && settled.Err != nil:
		return settled, settled.Err
	case settled.Fate == client.FateRefused:
		return settled, client.ErrUnavailable
	}
	return settled, unknown
}

// get reads a profile.
func (w *worker) get(ctx context.Context, key string) (revision int64, doc history.Doc, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	e := history.Event{Process: w.name, Action: history.Get, Key: key}
	op := w.game.events.begin(e)
	found, err := w.game.store.Get(ctx, key)
	if err != nil {
		w.game.events.complete(op, e, err)
		return 0, doc, false
	}
	e.Revision, e.Doc = int64(found.Revision), copyDoc(&found.Data)
	w.game.events.complete(op, e, nil)
	return e.Revision, found.Data, true
}

// send sends a message whose body nothing else has.
func (w *worker) send(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	e := history.Event{Process: w.name, Action: history.Send, Key: key, Body: w.unique("m")}
	op := w.game.events.begin(e)
	_, err := w.game.store.Send(ctx, key, e.Body)
	if errors.Is(err, client.ErrUnknown) && w.roll(50) {
		_, err = w.settle(err)
	}
	w.game.events.complete(op, e, err)
}
