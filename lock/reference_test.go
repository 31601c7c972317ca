package lock_test

import (
	"github.com/profilenode/profilenode/lock"
)

// referenceProfile is a slow, obvious implementation of the rules: it keeps every grant ever made, and the waiters. It
// shares no line with Grant.
type referenceProfile struct {
	grants []referenceGrant
	queue  []lock.Waiter
	dead   map[lock.Incarnation]bool
}

type referenceGrant struct {
	server        lock.Incarnation
	token, ticket lock.Token
	revoked, over bool
	cause         lock.Cause
	asked         bool
	died          bool // it is over since its owner died, and was neither revoked nor asked
}

// current is the grant that is not over, if there is one.
func (p *referenceProfile) current() *referenceGrant {
	for i := range p.grants {
		if !p.grants[i].over {
			return &p.grants[i]
		}
	}
	return nil
}

// bringUpToDate removes the dead waiters, and grants a profile without an owner to the first waiter.
func (p *referenceProfile) bringUpToDate(at lock.Token) (granted bool) {
	var living []lock.Waiter
	for _, w := range p.queue {
		if !p.dead[w.Server] {
			living = append(living, w)
		}
	}
	p.queue = living
	if g := p.current(); g != nil {
		if !p.dead[g.server] {
			return false
		}
		g.over, g.died = true, !g.revoked && !g.asked
	}
	if len(p.queue) == 0 {
		return false
	}
	first := p.queue[0]
	p.queue = p.queue[1:]
	p.grants = append(p.grants, referenceGrant{server: first.Server, token: at, ticket: first.Ticket})
	return true
}

func (p *referenceProfile) start(server lock.Incarnation, at lock.Token, when lock.WhenOwned, most int) lock.Outcome {
	g := p.current()
	switch {
	case g == nil:
		p.grants = append(p.grants, referenceGrant{server: server, token: at, ticket: at})
		return lock.Outcome{Granted: true}
	case g.server == server, when == lock.Refuse:
		return lock.Outcome{Refusal: lock.Owned}
	}
	// Two lines, each in the order of the log; the queue is one behind the other.
	var stealers, others []lock.Waiter
	kept, stoleBefore := lock.Waiter{Server: server}, false
	inLine := false
	for _, w := range p.queue {
		if w.Server == server {
			kept, stoleBefore, inLine = w, w.Steals, true
		}
		if w.Steals {
			stealers = append(stealers, w)
		} else {
			others = append(others, w)
		}
	}
	if !inLine && when == lock.Wait && len(p.queue) >= most {
		return lock.Outcome{Refusal: lock.QueueFull}
	}
	kept.Ticket = at
	kept.Steals = stoleBefore || when == lock.Steal
	renew := func(line []lock.Waiter, stays bool) (renewed []lock.Waiter) {
		for _, w := range line {
			if w.Server != server {
				renewed = append(renewed, w)
			} else if stays {
				renewed = append(renewed, kept)
			}
		}
		return renewed
	}
	moves := kept.Steals && !stoleBefore
	stealers, others = renew(stealers, true), renew(others, !moves)
	if moves {
		stealers = append(stealers, kept)
	} else if !inLine {
		others = append(others, kept)
	}
	p.queue = append(stealers, others...)
	out := lock.Outcome{Queued: true, Stole: moves}
	for i, w := range p.queue {
		if w.Server == server {
			out.Place = i + 1
		}
	}
	if when == lock.Steal && !g.revoked {
		g.revoked, g.cause, out.Revoked = true, lock.Stolen, true
	}
	return out
}

func (p *referenceProfile) release(server lock.Incarnation, token, at lock.Token) lock.Outcome {
	g := p.current()
	if g == nil || g.server != server || g.token != token {
		return lock.Outcome{Refusal: lock.Fenced}
	}
	g.over = true
	return lock.Outcome{Granted: p.bringUpToDate(at)}
}

func (p *referenceProfile) reclaim(server lock.Incarnation, token, at lock.Token) lock.Outcome {
	n := len(p.grants)
	if n == 0 || p.grants[n-1].token != token || !p.grants[n-1].died {
		return lock.Outcome{Refusal: lock.Superseded}
	}
	p.grants = append(p.grants, referenceGrant{server: server, token: at, ticket: at})
	return lock.Outcome{Granted: true, Reclaimed: true}
}

func (p *referenceProfile) cancel(server lock.Incarnation, ticket, at lock.Token) lock.Outcome {
	if g := p.current(); g != nil && g.server == server && g.ticket == ticket {
		g.over = true
		return lock.Outcome{Granted: p.bringUpToDate(at)}
	}
	var rest []lock.Waiter
	for _, w := range p.queue {
		if w.Server != server || w.Ticket != ticket {
			rest = append(rest, w)
		}
	}
	if len(rest) == len(p.queue) {
		return lock.Outcome{Refusal: lock.NotWaiting}
	}
	p.queue = rest
	return lock.Outcome{Granted: p.bringUpToDate(at)}
}

func (p *referenceProfile) ask(token lock.Token) lock.Outcome {
	g := p.current()
	if g == nil || g.token != token || g.revoked {
		return lock.Outcome{Refusal: lock.Superseded}
	}
	g.asked = true
	return lock.Outcome{Asked: true}
}

func (p *referenceProfile) revoke(token lock.Token, cause lock.Cause) lock.Outcome {
	g := p.current()
	if g == nil || g.token != token || g.revoked {
		return lock.Outcome{Refusal: lock.Superseded}
	}
	g.revoked, g.cause = true, cause
	return lock.Outcome{Revoked: true}
}

func (p *referenceProfile) lapse(token, at lock.Token) lock.Outcome {
	g := p.current()
	if g == nil || g.token != token || !g.revoked {
		return lock.Outcome{Refusal: lock.Superseded}
	}
	g.over = true
	return lock.Outcome{Granted: p.bringUpToDate(at)}
}

// mayWrite says whether the last grant is this one, and is neither over nor revoked.
func (p *referenceProfile) mayWrite(server lock.Incarnation, token lock.Token) bool {
	g := p.current()
	return g != nil && g.server == server && g.token == token && !g.revoked
}

// grant returns the history as a lock.Grant: the last grant's token and ticket stay after it is over.
func (p *referenceProfile) grant() lock.Grant {
	row := lock.Grant{Waiters: p.queue}
	if n := len(p.grants); n > 0 {
		last := p.grants[n-1]
		row.Token, row.Ticket, row.Orphan = last.token, last.ticket, last.died
		if !last.over {
			row.Owner, row.Revoked, row.Cause, row.Asked = last.server, last.revoked, last.cause, last.asked
		}
	}
	return row
}
