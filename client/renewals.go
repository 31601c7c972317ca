package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// renewUntilOver keeps an incarnation alive until it is over or the client ends. Renewals travel on a connection of their
// own, so that none waits behind the frames of a save.
func (c *Client) renewUntilOver(l *incarnation) {
	var pace wire.Pace
	mute := 0 // streams in a row that brought no answer
	led := "" // the node that renewed last
	// Streams without answers. Each is ended once another renews, and not before: to the leader, which may only be slow,
	// the end of the last one looks like the end of this process.
	var mutes []*renewalStream
	settle := func() {
		for _, m := range mutes {
			m.closeStream()
		}
		mutes = nil
	}
	defer settle()
	for {
		began := c.config.hooks.Now()
		addr := c.nodes.NodeToAsk()
		heard, silent := false, false
		via, refusal := c.openStream(addr)
		if via != nil {
			heard, silent, refusal = c.renewOver(via, l, addr, mute, settle)
		}
		if refusal != nil {
			c.noteAnswer(addr, nil, refusal, errors.New("it refuses renewals: "+wire.Code(refusal.Reason)))
		}
		switch {
		case silent:
			mutes = append(mutes, via)
		case via != nil:
			via.closeStream()
		}
		if len(mutes) > maxMutes {
			mutes[0].closeStream()
			mutes = mutes[1:]
		}
		if isClosed(l.over) || c.ctx.Err() != nil {
			return
		}
		l.lease.noteFailed(began)
		if refusal.GetReason() == profilev1.Reason_REASON_ROLLED_BACK {
			c.endForGood(refusalError("live", Ref{}, refusal, rolledBackSentence))
			return
		}
		if refusal != nil && endsIncarnation(refusal.Reason) {
			c.endIncarnation(l, refusalError("live", Ref{}, refusal, "the cluster has ended this incarnation"))
			return
		}
		if isGreaterEpoch(refusal, l.of) {
			c.endIncarnation(l, refusalError("live", Ref{}, refusal, restoredSince))
			return
		}
		switch {
		case heard:
			mute, led = 0, addr
			pace.Reset()
		case refusal == nil:
			mute++
		}
		c.nodes.NotePassed(addr)
		c.nodes.noteLeader(refusal.GetLeader())
		// All game servers learn of a new leader at the same moment, and each has still some time before it is in doubt. One
		// that lost its stream only has none to lose: its silence may be taken for its death.
		if leader := refusal.GetLeader(); leader != "" && led != "" && leader != led && !sleepUnlessDone(c.ctx, rand.N(l.timing.Renew/2)) {
			return
		}
		if !pace.WaitForRetry(c.ctx, nil, refusal) {
			return
		}
	}
}

// maxMutes is how many streams without answers are kept.
const maxMutes = 4

// maxPatience is how many times the time for an answer is doubled: nodes that are slow because thousands of game servers
// come at once would be slower still if all of them gave up and came again.
const maxPatience = 2

// renewOver renews over one stream until that ends, or is silent. mute streams before it brought no answer. heard says
// whether any renewal over it renewed; first is called at the first of them. A goodbye of the node is returned as the
// refusal with the same meaning.
func (c *Client) renewOver(via *renewalStream, l *incarnation, addr string, mute int, first func()) (heard, silent bool, refusal *profilev1.Refusal) {
	sent := make(map[uint64]time.Time) // of renewals without an answer
	// One that is not answered within this time is taken for lost: then there is still time to find another leader before
	// any session is in doubt.
	patience := (l.timing.Renew + l.timing.Renew/4) << min(mute, maxPatience)
	lost := time.NewTimer(patience)
	defer lost.Stop()
	tick := time.NewTicker(l.timing.Renew)
	defer tick.Stop()
	l.page, l.compared = nil, nil // pages are asked for where the comparison began
	for {
		renewal := c.makeRenewal(l)
		sent[renewal.Sequence] = c.config.hooks.Now()
		if via.live.Send(renewal) != nil {
			return heard, false, via.refusalOfStream()
		}
		for waiting := true; waiting; {
			select {
			case event, ok := <-via.events:
				if !ok {
					return heard, false, via.refusalOfStream()
				}
				switch what := event.What.(type) {
				case *profilev1.Event_Renewed:
					if c.handleRenewed(l, what.Renewed, sent) {
						if !heard {
							heard = true
							c.nodes.noteLeader(addr)
							first()
						}
						lost.Reset(patience)
					}
					waiting = l.page == nil // the next page is asked for at once
				case *profilev1.Event_Goodbye:
					if what.Goodbye.ServerGone {
						return heard, false, &profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE}
					}
					return heard, false, &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: what.Goodbye.Leader}
				default:
					c.handleEvent(l, event)
				}
			case <-lost.C:
				for _, left := range sent {
					l.lease.noteFailed(left)
				}
				return heard, true, nil
			case <-l.over:
				return heard, false, nil
			case <-tick.C:
				c.nodes.ConnectAhead()
				waiting = false
			}
		}
	}
}

// makeRenewal builds a renewal, with the digest of the sessions that this game server holds.
func (c *Client) makeRenewal(l *incarnation) *profilev1.Renewal {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.sequence++
	return &profilev1.Renewal{
		Incarnation: l.id, Sequence: l.sequence, HeldCount: uint64(len(l.held)), HeldHash: l.heldHash,
		Binding: l.of.binding, Registration: l.registration, Page: l.page,
		Seen: l.told.highestIndex(),
	}
}

// handleRenewed takes an answer, and says whether it renewed: it does so only if the node confirmed its leadership after a
// renewal of this incarnation, over this stream, came. Only such an answer speaks of the held set: one that confirms nothing
// may be made without a look at the tables, and must not take the doubt of a session that the last confirmed one did not
// list.
func (c *Client) handleRenewed(l *incarnation, answer *profilev1.Renewed, sent map[uint64]time.Time) bool {
	left, ours := sent[answer.Sequence]
	if !ours {
		return false
	}
	for sequence := range sent {
		if sequence <= answer.Sequence {
			delete(sent, sequence)
		}
	}
	l.told.noteIndex(answer.Index)
	c.nodes.LearnAddresses(answer.Nodes)
	c.gossipSeeds.learnSeeds(answer.Gossip)
	if answer.Level != 0 {
		c.features.Store(&answer.Features)
	}
	if answer.ProvedTerm == 0 {
		return false
	}
	if answer.Differs {
		var complete bool
		if left, complete = c.compareGrants(l, answer, left); !complete {
			return true // it speaks for the node, and for no session yet
		}
	} else {
		l.page, l.compared = nil, nil
		l.agreed.Store(answer.Sequence)
	}
	l.lease.confirmUntil(left)
	if !isClosed(l.proved) {
		close(l.proved)
	}
	return true
}

const rolledBackSentence = "the cluster has lost entries that this game server was told of: old disks were put back"
