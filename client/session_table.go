package client

import (
	"context"
	"sync"
)

// sessionTable holds the sessions of a client by their profiles, from their StartSession until their keys are free again.
type sessionTable struct {
	c *Client

	mu       sync.Mutex // guards all below
	list     map[Ref]*session
	draining bool // no new sessions
}

// sessionAt returns the session of a profile; nil: there is none.
func (t *sessionTable) sessionAt(store, key string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[Ref{store, key}]
}

// allSessions lists the sessions in no order.
func (t *sessionTable) allSessions() []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	sessions := make([]*session, 0, len(t.list))
	for _, s := range t.list {
		sessions = append(sessions, s)
	}
	return sessions
}

// drain lets no new session begin, and returns the profiles of those that are left.
func (t *sessionTable) drain() []Ref {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	left := make([]Ref, 0, len(t.list))
	for ref := range t.list {
		left = append(left, ref)
	}
	sortRefs(left)
	return left
}

// claimKey makes the key a new session's. One that is on its way out is waited for.
func (t *sessionTable) claimKey(ctx context.Context, ref Ref) (*session, error) {
	for {
		s, old, err := t.addSession(ref)
		if s != nil || err != nil {
			return s, err
		}
		if !old.isLeaving() {
			return nil, &Error{Act: "start session", Ref: ref, Kind: ErrAlreadyOpen, Sentence: "use that session, or end it first"}
		}
		if ctx.Err() != nil {
			return nil, t.c.notSentError(ctx, "start session", ref)
		}
		old.waitUntilLeft(ctx)
	}
}

// addSession makes a session of a profile, or returns the one that is there.
func (t *sessionTable) addSession(ref Ref) (added, old *session, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Close lists the sessions after it has begun, so none is added behind its back.
	if t.c.life.isClosed() {
		return nil, nil, &Error{Act: "start session", Ref: ref, Kind: ErrClosed}
	}
	if t.draining {
		return nil, nil, &Error{Act: "start session", Ref: ref, Kind: ErrClosed, Sentence: "it drains, so it opens no new sessions"}
	}
	if old := t.list[ref]; old != nil {
		return nil, old, nil
	}
	s := newSession(t.c, ref)
	t.list[ref] = s
	return s, nil, nil
}

// removeSession makes the key of a session free, once.
func (t *sessionTable) removeSession(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.list[s.ref] == s {
		delete(t.list, s.ref)
		close(s.keyFreed)
	}
}
