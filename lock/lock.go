// Package lock holds the rules of ownership: which game server may own a profile, which writes a token allows, and when an
// owner counts as gone.
//
// Its invariants: at most one grant of a profile is in force, the profile's tokens only rise, a game server has at most one
// place in a queue, and waiters are served in the order of the log, stealers first. It never reads a clock, a disk or a
// network: all input comes in as arguments, so the same arguments give the same decision on every node and at every replay.
// Read this file first, then lease.go for time and ground.go for expiries.
package lock

import "slices"

// Token is the fencing token of a grant: the position in the log of the command that made it. Of two grants of a profile
// the later one has the greater token. 0 is no token.
type Token uint64

// placeBits is the number of low bits of a token that number the commands of one entry.
const placeBits = 16

// MaxPlace is the highest place that a command may have in its entry.
const MaxPlace = 1<<placeBits - 1

// TokenAt returns the token of the command at a place in the entry at index. index includes the cluster's offset, which
// only a restore raises.
func TokenAt(index uint64, place int) Token { return Token(index<<placeBits | uint64(place)) }

// Incarnation is one registration of a game server, until it ends. Its number is the token of the command that registered
// it. 0 is none.
type Incarnation uint64

// Waiter is a game server that asked for a profile which another one owns.
type Waiter struct {
	Server  Incarnation
	Ticket  Token // token of its last StartSession
	Steals  bool  // it stands before those that only wait
	SinceMS int64 // timestamp of the StartSession that gave it its place, for display: no rule reads it
}

// Grant states the ownership of a profile. The zero value is a profile that never had an owner.
type Grant struct {
	Token   Token       // token of the last grant ever made; stays after a release
	Ticket  Token       // token of the StartSession that this grant answers; equal to Token when it did not wait
	Owner   Incarnation // 0: the profile has no owner
	Revoked bool        // the owner may not write any more; the next grant waits until the owner acknowledges, or for Lapse
	Cause   Cause       // why the grant was revoked
	Asked   bool        // an operator asked the owner to let go, whether or not a game server waits
	Orphan  bool        // the owner's incarnation ended while it held the profile: after a false expiry it may reclaim it
	Waiters []Waiter    // the stealers, then the others: in each part first come, first served, and a game server at most once
}

// Alive says whether an incarnation is alive. A grant is in force only while its owner is.
type Alive func(Incarnation) bool

// WhenOwned says how a StartSession deals with a profile that another game server owns.
type WhenOwned uint8

const (
	Wait   WhenOwned = iota // join the queue; the owner is asked to let go
	Refuse                  // fail, and return the owner
	Steal                   // revoke the owner's session and go before those that wait, behind earlier stealers
)

// Refusal is the reason why a request was refused. None means that it was not.
type Refusal uint8

const (
	None       Refusal = iota
	Fenced             // the token is not the one in force
	Owned              // another session is in force
	QueueFull          // too many game servers wait already
	NotWaiting         // no waiter has this ticket
	Superseded         // the grant has changed since the request was decided on
)

// Outcome tells the result of a request, besides the new grant.
type Outcome struct {
	Refusal   Refusal
	Place     int  // with Queued, the game server's place in the queue, from 1
	Granted   bool // a grant was made at the command's token
	Queued    bool // the game server waits, with the command's token as its ticket
	Revoked   bool // the owner's session was revoked
	Stole     bool // the game server has a place among the stealers that it did not have before
	Asked     bool // the owner is to be asked to let go
	Reclaimed bool // the grant continues an earlier session
}

// InForce says whether the profile has a living owner.
func (g Grant) InForce(alive Alive) bool { return g.Owner != 0 && alive(g.Owner) }

// Wanted says whether the owner is to let go: a game server waits, or an operator asked.
func (g Grant) Wanted() bool { return g.Asked || len(g.Waiters) > 0 }

// MayWrite is checked before every write of an owner.
func (g Grant) MayWrite(server Incarnation, token Token) Refusal {
	if g.Owner != server || g.Token != token || g.Revoked {
		return Fenced
	}
	return None
}

// Inherit brings a grant up to date before anything else is decided: dead waiters are removed, and the profile of an owner that
// is gone is granted to the first waiter, at the token given. Without it a newcomer would overtake the queue.
func (g Grant) Inherit(at Token, alive Alive) (Grant, Outcome) {
	if slices.ContainsFunc(g.Waiters, func(w Waiter) bool { return !alive(w.Server) }) {
		living := make([]Waiter, 0, len(g.Waiters))
		for _, w := range g.Waiters {
			if alive(w.Server) {
				living = append(living, w)
			}
		}
		g.Waiters = living
	}
	if g.InForce(alive) {
		return g, Outcome{}
	}
	g.Orphan = g.Orphan || g.Owner != 0 && !g.Revoked && !g.Asked
	g.Owner, g.Revoked, g.Cause, g.Asked = 0, false, NoCause, false
	if len(g.Waiters) == 0 {
		return g, Outcome{}
	}
	next := g.Waiters[0]
	g.Waiters = slices.Clone(g.Waiters[1:])
	g.Owner, g.Token, g.Ticket, g.Orphan = next.Server, at, next.Ticket, false
	return g, Outcome{Granted: true}
}

// MaxStealers bounds the stealers of a queue, which the limit for waiters does not refuse: a grant's row is written whole.
// It is part of the format: a build that changes it needs a new level.
const MaxStealers = 1024

// Start requests a session. The grant must have been brought up to date by Inherit at the same token.
//
// A game server that has a place in the queue already keeps it under the new ticket, whatever the limit, and goes to the
// stealers if it did not steal before. Its old ticket waits no more: a late Cancel of it must not end the new wait. A steal
// revokes the owner that it meets. One that is granted between a stealer's entry and its turn is not revoked: it is asked to
// let go, as for any waiter.
func (g Grant) Start(server Incarnation, at Token, when WhenOwned, maxWaiters int, alive Alive) (Grant, Outcome) {
	if !g.InForce(alive) {
		g.Owner, g.Token, g.Ticket, g.Revoked, g.Orphan = server, at, at, false, false
		return g, Outcome{Granted: true}
	}
	if when == Refuse || g.Owner == server {
		return g, Outcome{Refusal: Owned}
	}
	place := slices.IndexFunc(g.Waiters, func(w Waiter) bool { return w.Server == server })
	stealers := g.CountStealers()
	stole := when == Steal && (place < 0 || place >= stealers)
	switch {
	case stole && stealers >= MaxStealers, place < 0 && when == Wait && len(g.Waiters) >= maxWaiters:
		return g, Outcome{Refusal: QueueFull}
	case place < 0:
		place = len(g.Waiters)
		g.Waiters = append(slices.Clone(g.Waiters), Waiter{Server: server})
	default:
		g.Waiters = slices.Clone(g.Waiters)
	}
	waiter := g.Waiters[place]
	waiter.Ticket = at
	if stole {
		waiter.Steals = true
		g.Waiters = slices.Insert(slices.Delete(g.Waiters, place, place+1), stealers, waiter)
		place = stealers
	}
	g.Waiters[place] = waiter
	revoked := when == Steal && !g.Revoked
	if revoked {
		g.Revoked, g.Cause = true, Stolen
	}
	return g, Outcome{Queued: true, Place: place + 1, Revoked: revoked, Stole: stole}
}

// CountStealers returns how many of the waiters steal: they stand first.
func (g Grant) CountStealers() int {
	if i := slices.IndexFunc(g.Waiters, func(w Waiter) bool { return !w.Steals }); i >= 0 {
		return i
	}
	return len(g.Waiters)
}

// Reclaim continues a session after a false expiry of its owner, which has registered again: under a new token, if the old
// one is the last that was ever granted, and was neither revoked nor released. The caller checks that the data is still at
// the revision that the session knows. The grant must have been brought up to date by Inherit at the same token.
func (g Grant) Reclaim(server Incarnation, token, at Token) (Grant, Outcome) {
	if !g.Orphan || g.Token != token {
		return g, Outcome{Refusal: Superseded}
	}
	g.Owner, g.Token, g.Ticket, g.Orphan = server, at, at, false
	return g, Outcome{Granted: true, Reclaimed: true}
}

// Release ends a session at its owner's request, also a revoked one, and grants the profile to the first waiter.
func (g Grant) Release(server Incarnation, token, at Token, alive Alive) (Grant, Outcome) {
	if g.Owner != server || g.Token != token {
		return g, Outcome{Refusal: Fenced}
	}
	return g.passToFirstWaiter(at, alive)
}

// Cancel takes a waiter out of the queue, or ends the session if its ticket was already granted, and brings the grant up to
// date. Unlike the others it must be called before Inherit: when the owner has died, Inherit would grant the profile to the
// cancelling waiter, and Cancel would pass it to the next one in the same command: two grants under one token.
func (g Grant) Cancel(server Incarnation, ticket, at Token, alive Alive) (Grant, Outcome) {
	if g.Owner == server && g.Ticket == ticket {
		return g.passToFirstWaiter(at, alive)
	}
	i := slices.IndexFunc(g.Waiters, func(w Waiter) bool { return w.Server == server && w.Ticket == ticket })
	if i < 0 {
		return g, Outcome{Refusal: NotWaiting}
	}
	g.Waiters = slices.Delete(slices.Clone(g.Waiters), i, i+1)
	return g.Inherit(at, alive)
}

// Ask records that the owner shall let go: it makes its last save and releases. An owner that does not in time is revoked.
func (g Grant) Ask(token Token, alive Alive) (Grant, Outcome) {
	if !g.InForce(alive) || g.Token != token || g.Revoked {
		return g, Outcome{Refusal: Superseded}
	}
	g.Asked = true
	return g, Outcome{Asked: true}
}

// Revoke ends a session without its owner: writes under the token are refused from this command on.
func (g Grant) Revoke(token Token, cause Cause, alive Alive) (Grant, Outcome) {
	if !g.InForce(alive) || g.Token != token || g.Revoked {
		return g, Outcome{Refusal: Superseded}
	}
	g.Revoked, g.Cause = true, cause
	return g, Outcome{Revoked: true}
}

// Lapse ends a revoked grant that its owner has not acknowledged in time, and grants the profile to the first waiter.
func (g Grant) Lapse(token, at Token, alive Alive) (Grant, Outcome) {
	if g.Owner == 0 || g.Token != token || !g.Revoked {
		return g, Outcome{Refusal: Superseded}
	}
	return g.passToFirstWaiter(at, alive)
}

func (g Grant) passToFirstWaiter(at Token, alive Alive) (Grant, Outcome) {
	g.Owner = 0
	return g.Inherit(at, alive)
}
