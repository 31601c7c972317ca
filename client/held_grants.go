package client

import (
	"slices"

	"github.com/profilenode/profilenode/lock"
)

// heldGrant names a grant. Its token alone does not: two profiles of one owner may have been granted by one command.
type heldGrant struct {
	Ref
	token uint64
}

// addGrant adds a session's grant to the held set of an incarnation. false: the incarnation has ended.
func (k *leaseKeeper) addGrant(l *incarnation, s *session, token uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.why != nil {
		return false
	}
	l.addGrant(s, token)
	return true
}

// dropGrant takes a session's grant out of the held set of an incarnation.
func (k *leaseKeeper) dropGrant(l *incarnation, s *session, token uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.dropGrant(s, token)
	k.forgetPastIncarnations()
}

// moveGrant moves a session's grant from the held set of one incarnation to that of another, under a new token. false: the
// other has ended, and no later one will reclaim its sessions.
func (k *leaseKeeper) moveGrant(s *session, from, to *incarnation, old, token uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if to.why != nil && !to.mistaken {
		return false
	}
	from.dropGrant(s, old)
	to.addGrant(s, token)
	if to.mistaken && !slices.Contains(k.past, to) {
		k.past = append(k.past, to)
	}
	k.forgetPastIncarnations()
	return true
}

// noteUnreleased notes why a session ended that leaves its grant behind.
func (k *leaseKeeper) noteUnreleased(l *incarnation, h heldGrant, reason EndReason) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.unreleased[h] = reason
}

// addGrant is called under leaseKeeper.mu.
func (l *incarnation) addGrant(s *session, token uint64) {
	l.held[heldGrant{s.ref, token}] = s
	l.heldHash = lock.HeldHash(l.heldHash, s.ref.Store, s.ref.Key, lock.Token(token))
	s.grant.since = l.sequence
}

// dropGrant is called under leaseKeeper.mu.
func (l *incarnation) dropGrant(s *session, token uint64) {
	if h := (heldGrant{s.ref, token}); l.held[h] == s {
		delete(l.held, h)
		l.heldHash = lock.HeldHash(l.heldHash, s.ref.Store, s.ref.Key, lock.Token(token))
	}
}

// listSessions is called under leaseKeeper.mu.
func (l *incarnation) listSessions() []*session {
	sessions := make([]*session, 0, len(l.held))
	for _, s := range l.held {
		sessions = append(sessions, s)
	}
	return sessions
}
