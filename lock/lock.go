// Package lock is the law: who may own a profile, what a token allows, and when an owner counts as gone.
//
// It promises that of one profile at most one grant is in force, that its tokens only rise, and that whoever waits is
// served in order. It never reads a clock, a disk or a network: everything it decides on is handed to it, so the same
// arguments give the same verdict on every node, at every replay. Read this file first, then lease.go for time.
package lock

import "slices"

// Token is the fencing token of a grant: the place in the log of the command that made it. Of two grants of a profile
// the later has the greater one. 0 is no token.
type Token uint64

// placeBits is how much of a token numbers the commands of one entry.
const placeBits = 16

// MaxPlace is the highest place that a command may have in its entry.
const MaxPlace = 1<<placeBits - 1

// TokenAt is the token of the command at a place of the entry at index. index includes the cluster's offset, which only
// a restore raises.
func TokenAt(index uint64, place int) Token { return Token(index<<placeBits | uint64(place)) }

// Incarnation is one life of a game server: the token of the command that registered it. 0 is nobody.
type Incarnation uint64

// Waiter is a game server that asked for a profile which another one owns.
type Waiter struct {
	Server  Incarnation
	Ticket  Token // of its StartSession
	SinceMS int64 // and its stamp, for people: the law does not look at it
}

// Grant is the fact in the log. The zero value is a profile that nobody ever owned.
type Grant struct {
	Token   Token       // of the last grant ever made; stays after a release
	Ticket  Token       // of the StartSession that this grant answers; equal to Token when it did not wait
	Owner   Incarnation // 0: nobody
	Revoked bool        // the owner may not write any more, and the next grant waits for it to say so, or for Lapse
	Cause   Cause       // why it was revoked
	Asked   bool        // an operator wants the owner to let go, also if nobody waits
	Orphan  bool        // nobody's, since its owner was ended while it held it: if that was wrong, it may reclaim it
	Waiters []Waiter    // first come, first served
}

// Alive says whether an incarnation is alive. A grant is in force only while its owner is.
type Alive func(Incarnation) bool

// WhenOwned is what a StartSession wants of a profile that another game server owns.
type WhenOwned uint8

const (
	Wait   WhenOwned = iota // join the queue; the owner is asked to let go
	Refuse                  // be told who owns it
	Steal                   // revoke the owner's session and be next
)

// Refusal is why the law said no. None is yes.
type Refusal uint8

const (
	None       Refusal = iota
	Fenced             // the token is not the one in force
	Owned              // another session is in force
	QueueFull          // too many wait already
	NotWaiting         // no such ticket
	Superseded         // what was judged has moved on
)

// Outcome is what became of a request besides the new grant.
type Outcome struct {
	Refusal   Refusal
	Granted   bool // a grant was made at the command's token
	Queued    bool // the asker waits, with the command's token as its ticket
	Revoked   bool // the owner's session was revoked
	Asked     bool // the owner is to be asked to let go
	Reclaimed bool // the grant goes on with a session that was there before
}

// InForce says whether somebody owns the profile now.
func (g Grant) InForce(alive Alive) bool { return g.Owner != 0 && alive(g.Owner) }

// Wanted says whether the owner is to let go: somebody waits, or an operator asked.
func (g Grant) Wanted() bool { return g.Asked || len(g.Waiters) > 0 }

// MayWrite is asked before every write of an owner.
func (g Grant) MayWrite(server Incarnation, token Token) Refusal {
	if g.Owner != server || g.Token != token || g.Revoked {
		return Fenced
	}
	return None
}

// Inherit brings a grant up to date before anything else is decided: waiters that died leave, and a profile whose owner
// is gone goes to the first who waits, at the token given. Without it a newcomer would overtake the queue.
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

// Start asks for a session. The grant must have been brought up to date by Inherit at the same token.
func (g Grant) Start(server Incarnation, at Token, when WhenOwned, maxWaiters int, alive Alive) (Grant, Outcome) {
	if !g.InForce(alive) {
		g.Owner, g.Token, g.Ticket, g.Revoked, g.Orphan = server, at, at, false, false
		return g, Outcome{Granted: true}
	}
	if when == Refuse || g.Owner == server {
		return g, Outcome{Refusal: Owned}
	}
	if len(g.Waiters) >= maxWaiters {
		return g, Outcome{Refusal: QueueFull}
	}
	waiter := Waiter{Server: server, Ticket: at}
	if when == Wait {
		g.Waiters = append(slices.Clone(g.Waiters), waiter)
		return g, Outcome{Queued: true}
	}
	g.Waiters = append([]Waiter{waiter}, g.Waiters...)
	revoked := !g.Revoked
	if revoked {
		g.Revoked, g.Cause = true, Stolen
	}
	return g, Outcome{Queued: true, Revoked: revoked}
}

// Reclaim lets a session go on whose owner was ended by a false verdict, and is registered anew: under a new token, if the
// old one is the last that was ever granted and nobody revoked or released it. That the data is still what the session
// knows is for the caller to see. The grant must have been brought up to date by Inherit at the same token.
func (g Grant) Reclaim(server Incarnation, token, at Token) (Grant, Outcome) {
	if !g.Orphan || g.Token != token {
		return g, Outcome{Refusal: Superseded}
	}
	g.Owner, g.Token, g.Ticket, g.Orphan = server, at, at, false
	return g, Outcome{Granted: true, Reclaimed: true}
}

// Release ends the session of an owner that says so itself, a revoked one too, and grants to the first who waits.
func (g Grant) Release(server Incarnation, token, at Token, alive Alive) (Grant, Outcome) {
	if g.Owner != server || g.Token != token {
		return g, Outcome{Refusal: Fenced}
	}
	return g.passToFirstWaiter(at, alive)
}

// Cancel takes a waiter out of the queue, or ends the session that its ticket has become, and brings the grant up to date.
// It alone comes before Inherit: a waiter whose owner has died would otherwise be granted the profile on its way out, and
// the next one in the same command, two grants under one token.
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

// Ask wants the owner to let go: it makes its last save and ends. Whoever does not in time is revoked.
func (g Grant) Ask(token Token, alive Alive) (Grant, Outcome) {
	if !g.InForce(alive) || g.Token != token || g.Revoked {
		return g, Outcome{Refusal: Superseded}
	}
	g.Asked = true
	return g, Outcome{Asked: true}
}

// Revoke ends a session without its owner: the writes of the token are refused from here.
func (g Grant) Revoke(token Token, cause Cause, alive Alive) (Grant, Outcome) {
	if !g.InForce(alive) || g.Token != token || g.Revoked {
		return g, Outcome{Refusal: Superseded}
	}
	g.Revoked, g.Cause = true, cause
	return g, Outcome{Revoked: true}
}

// Lapse lets go of a revoked grant whose owner has not answered in time, and grants to the first who waits.
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
