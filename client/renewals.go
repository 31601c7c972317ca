package client

import (
	"errors"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
)

// renewUntilOver keeps an incarnation alive until it is over or the client ends.
func (k *leaseKeeper) renewUntilOver(l *incarnation) {
	c := k.c
	renewals := &wire.Renewals{
		Nodes: c.link.nodes.Nodes, Every: l.timing.Renew, Now: c.config.hooks.Now, Over: l.over,
		Began: func() { l.page, l.compared = nil, nil }, // pages are asked for where the comparison began
		Next:  func() *profilev1.Renewal { return k.makeRenewal(l) },
		Answered: func(answer *profilev1.Renewed, left time.Time, confirmed bool) bool {
			k.handleRenewed(l, answer, left, confirmed)
			return l.page != nil // the next page is asked for at once
		},
		Event: func(event *profilev1.Event) { c.handleEvent(l, event) },
		Lost:  l.lease.noteFailed,
		Ended: func(a wire.Attempt, tried time.Time) bool { return k.handleStreamEnd(l, a, tried) },
	}
	renewals.RenewUntilOver(c.life.ctx)
}

// handleStreamEnd takes the end of a stream, or the failure to open one, and says whether the incarnation is over.
func (k *leaseKeeper) handleStreamEnd(l *incarnation, a wire.Attempt, tried time.Time) (over bool) {
	c := k.c
	switch {
	case a.Refusal != nil:
		c.link.noteAnswer(a.Address, nil, a.Refusal, errors.New("it refuses renewals: "+wire.Code(a.Refusal.Reason)))
	case a.Link != nil && a.Err != nil && !a.Sent:
		c.link.noteAnswer(a.Address, a.Link, nil, a.Err)
	}
	if isClosed(l.over) || c.life.ctx.Err() != nil {
		return true
	}
	l.lease.noteFailed(tried)
	switch {
	case a.Refusal.GetReason() == profilev1.Reason_REASON_ROLLED_BACK:
		c.endForGood(refusalError("live", Ref{}, a.Refusal, rolledBackSentence))
	case a.Refusal != nil && endsIncarnation(a.Refusal.Reason):
		k.endIncarnation(l, refusalError("live", Ref{}, a.Refusal, "the cluster has ended this incarnation"))
	case isGreaterEpoch(a.Refusal, l.of):
		k.endIncarnation(l, refusalError("live", Ref{}, a.Refusal, restoredSince))
	default:
		return false
	}
	return true
}

// makeRenewal builds a renewal, with the digest of the sessions that this game server holds.
func (k *leaseKeeper) makeRenewal(l *incarnation) *profilev1.Renewal {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.sequence++
	return &profilev1.Renewal{
		Incarnation: l.id, Sequence: l.sequence, HeldCount: uint64(len(l.held)), HeldHash: l.heldHash,
		Binding: l.of.binding, Registration: l.registration, Page: l.page,
		Seen: l.told.highestIndex(),
	}
}

// handleRenewed takes an answer. Only a confirmed one speaks of the held set: one that confirms nothing may be made without a
// look at the tables, and must not take the doubt of a session that the last confirmed one did not list.
func (k *leaseKeeper) handleRenewed(l *incarnation, answer *profilev1.Renewed, left time.Time, confirmed bool) {
	c := k.c
	l.told.noteIndex(answer.Index)
	c.link.nodes.LearnAddresses(answer.Nodes)
	c.gossipSeeds.learnSeeds(answer.Gossip)
	if answer.Level != 0 {
		c.link.features.Store(&answer.Features)
	}
	if !confirmed {
		return
	}
	c.link.nodes.KeepFew(answer.FewConnections)
	if answer.Differs {
		var complete bool
		if left, complete = k.compareGrants(l, answer, left); !complete {
			return // it speaks for the node, and for no session yet
		}
	} else {
		l.page, l.compared = nil, nil
		l.agreed.Store(answer.Sequence)
	}
	l.lease.confirmUntil(left)
	if !isClosed(l.confirmed) {
		close(l.confirmed)
	}
}

const rolledBackSentence = "the cluster has lost entries that this game server was told of: old disks were put back"
