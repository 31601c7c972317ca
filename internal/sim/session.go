package sim

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/profilenode/profilenode/client"
	"github.com/profilenode/profilenode/internal/sim/check"
)

// Session is a session of a game server, with its record in the history.
type Session struct {
	*client.Profile[check.Doc]
	server *Server
	record *check.Session

	// For the observer alone.
	active time.Duration // when it was last seen active
	ended  bool          // its end was checked
}

// Start opens a session on a profile; messages to it are applied as they come.
func (s *Server) Start(key string, limit time.Duration, options ...client.StartOption) (*Session, error) {
	record := &check.Session{Writer: s.nextName("s"), Profile: key}
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	call := s.world.Now()
	p, err := s.store.StartSession(ctx, key, options...)
	if err != nil {
		s.world.logEvent(key, "%s is given no session: %v", record.Writer, err)
		return nil, err
	}
	session := &Session{Profile: p, server: s, record: record, active: -time.Hour}
	record.Revision, record.Loads = p.Revision(), p.Loads()
	p.Read(func(d *check.Doc) { record.Loaded = *d; record.Loaded.Applied = slices.Clone(d.Applied) })
	s.world.recordHistory(func(h *check.History) {
		h.Sessions = append(h.Sessions, record)
		record.Span = check.Span{Call: call, Return: s.world.Now(), Answered: true}
	})
	s.world.logEvent(key, "%s is given grant %d at revision %d", record.Writer, record.Loads, record.Revision)
	s.mu.Lock()
	s.sessions[key] = session
	s.mu.Unlock()
	if record.Loaded.Writer == "" {
		session.Touch() // all stored data names its writer
	}
	p.OnMessage(func(d *check.Doc, m client.Message) client.Answer {
		var body string
		if m.Decode(&body) != nil {
			return client.AnswerNotMine
		}
		if m.Kind == poison {
			s.world.recordHistory(func(h *check.History) {
				if h.Panics == nil {
					h.Panics = map[string]int{}
				}
				h.Panics[body]++
			})
			if m.Panics >= setAsideAfter {
				s.world.Complain(key, "message %s is offered after %d panics", body, m.Panics)
			}
			panic(string(poison))
		}
		session.changeDoc(d)
		d.Applied = append(d.Applied, body)
		return client.AnswerDone
	})
	p.OnSessionEnd(session.onSessionEnd)
	return session, nil
}

// onSessionEnd records the end of the session. Without an error every change made in it is stored.
func (s *Session) onSessionEnd(end client.End) {
	s.server.world.logEvent(s.record.Profile, "%s is over: %v, %v", s.record.Writer, end.Reason, end.Err)
	if end.Err == nil {
		s.recordOutcome(check.Done)
	}
}

// recordOutcome records that the game was told the outcome of the last change.
func (s *Session) recordOutcome(outcome check.Outcome) {
	record := &check.Save{Session: s.record, Outcome: outcome, Revision: s.Revision()}
	s.Read(func(d *check.Doc) {
		if d.Writer == s.record.Writer {
			record.Seq = d.Seq
		}
	})
	w := s.server.world
	w.recordHistory(func(h *check.History) {
		if record.Seq > 0 {
			h.Saves = append(h.Saves, record)
		}
	})
	w.finishSpan(&record.Span, func() {})
}

func (s *Session) changeDoc(d *check.Doc) {
	if d.Writer != s.record.Writer {
		d.Writer, d.Seq = s.record.Writer, 0
	}
	d.Seq++
	d.Bulk = nil
	if bulk := s.server.world.scenario.Bulk; bulk > 0 && d.Seq%8 == 1 {
		d.Bulk = bytes.Repeat([]byte{byte(hashText(d.Writer))}, bulk)
	}
}

// Touch changes the data, and returns the number of that change; 0: the session is over.
func (s *Session) Touch() (seq int) {
	_ = s.Update(func(d *check.Doc) {
		s.changeDoc(d)
		seq = d.Seq
	})
	return seq
}

// Save changes the data and stores it.
func (s *Session) Save(limit time.Duration) error {
	return s.writeRecorded(limit, "saves", s.Profile.Save)
}

// End changes the data and ends the session with a last save.
func (s *Session) End(limit time.Duration) error { return s.writeRecorded(limit, "ends", s.EndSession) }

func (s *Session) writeRecorded(limit time.Duration, act string, write func(context.Context) error) error {
	w := s.server.world
	seq := s.Touch()
	if seq == 0 {
		return s.Err()
	}
	record := &check.Save{Session: s.record, Seq: seq}
	w.recordHistory(func(h *check.History) { h.Saves = append(h.Saves, record) })
	ctx, cancel := context.WithTimeout(s.server.life, limit)
	defer cancel()
	record.Call = w.Now()
	err := write(ctx)
	revision := s.Revision()
	w.finishSpan(&record.Span, func() {
		record.Outcome, record.Revision = w.outcomeOf(err, client.ErrSessionOver, client.ErrInvalid), revision
	})
	w.logEvent(s.record.Profile, "%s#%d %s, at revision %d: %v", s.record.Writer, seq, act, revision, err)
	return err
}

// lostByMistake says that the session is over without the game's doing, and not with all data stored.
func (s *Session) lostByMistake() bool {
	select {
	case <-s.Done():
		var e *client.Error
		own := errors.As(s.Err(), &e) && e.Code == client.CodePanicked // the game's code panicked
		return s.Err() != nil && !own && !errors.Is(s.Err(), client.ErrClosed)
	default:
		return false
	}
}
