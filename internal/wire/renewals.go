package wire

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// Renewals keeps one incarnation alive. It renews over a stream to the leader, and over another one when that ends or brings
// no answers. Its functions are called by the goroutine of RenewUntilOver, one at a time; those marked so may be nil.
type Renewals struct {
	Nodes *Nodes
	Every time.Duration    // from one renewal to the next
	Now   func() time.Time // by which the send times are taken; nil: time.Now
	Over  <-chan struct{}  // closed once the incarnation has ended; nil: Ended says so

	// Began says that another stream begins: the answer to no earlier renewal will come. It may be nil.
	Began func()
	// Next builds the next renewal.
	Next func() *profilev1.Renewal
	// Answered takes the answer to a renewal with its send time. Only a confirmed one renews: the node has confirmed its
	// leadership after the renewal arrived. It returns true to send the next renewal at once.
	Answered func(answer *profilev1.Renewed, left time.Time, confirmed bool) (again bool)
	// Event takes every other event but goodbyes. It may be nil.
	Event func(*profilev1.Event)
	// Lost says that the answer to a renewal is not waited for any longer. It may be nil.
	Lost func(left time.Time)
	// Ended takes the end of a stream, or the failure to open one at a time. A goodbye of the node is the refusal with the
	// same meaning; without refusal and error the node was silent or the connection broke. It returns true if the
	// incarnation is over.
	Ended func(a Attempt, tried time.Time) (over bool)
}

// maxMutes is how many streams without answers are kept.
const maxMutes = 4

// maxDoublings is how many times the time for an answer is doubled: nodes that are slow because thousands of game servers
// come at once would be slower still if all of them gave up and came again.
const maxDoublings = 2

// RenewUntilOver renews until the incarnation is over or ctx ends.
func (r *Renewals) RenewUntilOver(ctx context.Context) {
	var pace Pace
	mute := 0 // streams in a row that brought no answer
	led := "" // the node that renewed last
	// Streams without answers. Each is ended once another renews, and not before: to the leader, which may only be slow,
	// the end of the last one looks like the end of this process.
	var mutes []*stream
	settle := func() {
		for _, m := range mutes {
			m.closeStream()
		}
		mutes = nil
	}
	defer settle()
	for {
		tried := r.now()
		address := r.Nodes.NodeToAsk()
		heard, silent := false, false
		via, a := r.Nodes.openStream(ctx, address)
		if via != nil {
			heard, silent, a.Refusal = r.renewOver(via, address, mute, settle)
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
		if r.Ended(a, tried) || ctx.Err() != nil {
			return
		}
		switch {
		case heard:
			mute, led = 0, address
			pace.Reset()
		case a.Refusal == nil:
			mute++
		}
		r.Nodes.NotePassed(address)
		r.Nodes.NoteLeader(a.Refusal.GetLeader())
		// All game servers learn of a new leader at the same moment, and each has still some time before it is in doubt. One
		// that lost its stream only has none to lose: its silence may be taken for its death.
		if leader := a.Refusal.GetLeader(); leader != "" && led != "" && leader != led && !SleepUnlessDone(ctx, rand.N(r.Every/2)) {
			return
		}
		if !pace.WaitForRetry(ctx, nil, a.Refusal) {
			return
		}
	}
}

// renewOver renews over one stream until that ends, or is silent. mute streams before it brought no answer. heard says
// whether any renewal over it renewed; first is called at the first of them.
func (r *Renewals) renewOver(via *stream, address string, mute int, first func()) (heard, silent bool, refusal *profilev1.Refusal) {
	sent := make(map[uint64]time.Time) // of renewals without an answer
	// One that is not answered within this time is taken for lost: then there is still time to find another leader before
	// any session is in doubt.
	limit := (r.Every + r.Every/4) << min(mute, maxDoublings)
	lost := time.NewTimer(limit)
	defer lost.Stop()
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	if r.Began != nil {
		r.Began()
	}
	for {
		renewal := r.Next()
		sent[renewal.Sequence] = r.now()
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
					confirmed, again := r.takeAnswer(what.Renewed, sent)
					if confirmed {
						if !heard {
							heard = true
							r.Nodes.NoteLeader(address)
							first()
						}
						lost.Reset(limit)
					}
					waiting = !again
				case *profilev1.Event_StreamEnd:
					if what.StreamEnd.ServerGone {
						return heard, false, &profilev1.Refusal{Reason: profilev1.Reason_REASON_SERVER_GONE}
					}
					return heard, false, &profilev1.Refusal{Reason: profilev1.Reason_REASON_NOT_LEADER, Leader: what.StreamEnd.Leader}
				default:
					if r.Event != nil {
						r.Event(event)
					}
				}
			case <-lost.C:
				for _, left := range sent {
					if r.Lost != nil {
						r.Lost(left)
					}
				}
				return heard, true, nil
			case <-r.Over:
				return heard, false, nil
			case <-tick.C:
				r.Nodes.ConnectAhead()
				waiting = false
			}
		}
	}
}

// takeAnswer takes the answer to a renewal over this stream: it renews only if the node confirmed its leadership after the
// renewal came. An answer speaks for the renewals before it too.
func (r *Renewals) takeAnswer(answer *profilev1.Renewed, sent map[uint64]time.Time) (confirmed, again bool) {
	left, ours := sent[answer.Sequence]
	if !ours {
		return false, false
	}
	for sequence := range sent {
		if sequence <= answer.Sequence {
			delete(sent, sequence)
		}
	}
	confirmed = answer.ConfirmedTerm != 0
	return confirmed, r.Answered(answer, left, confirmed)
}

func (r *Renewals) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
