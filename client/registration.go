package client

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/lock"
)

// incarnation is one incarnation of this game server: from a registration until the cluster has ended it.
type incarnation struct {
	id           uint64
	of           knownCluster
	registration uint64 // 64 bits of its registration, carried by every request
	timing       lock.Timing
	numbers      *wire.Numbers
	limits       *profilev1.Limits // the cluster's hard ones; those it did not state are not checked here
	lease        *leaseState
	told         *toldIndex    // of the cluster and epoch that it was registered under
	proved       chan struct{} // closed with the first renewal that renews
	over         chan struct{} // closed when the incarnation has ended; why is written before
	agreed       atomic.Uint64 // number of the last renewal with an answer that confirmed it and listed the sessions held here
	why          error

	// Of the goroutine that renews.
	page     *profilev1.Page  // that the next renewal asks for; nil: none
	compared *grantComparison // of which it is a page; nil: none

	// Guarded by Client.mu.
	mistaken  bool                   // it has ended though this process lives: its sessions may be reclaimed
	held      map[heldGrant]*session // the held set that renewals report
	heldHash  uint64
	sequence  uint64             // of the last renewal
	releasing map[heldGrant]bool // grants that are being given back
	// Grants of sessions that ended while no release could be sent, with the reason. They are released once the cluster
	// lists them.
	unreleased map[heldGrant]EndReason
}

// heldGrant names a grant. Its token alone does not: two profiles of one owner may have been granted by one command.
type heldGrant struct {
	Ref
	token uint64
}

// registerUntilAnswered makes an incarnation, after another one or none. It is one registration, with one nonce, until a
// node says that this nonce's incarnation is over.
func (c *Client) registerUntilAnswered(ctx context.Context, old *incarnation) (*incarnation, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, &Error{Act: "register", Kind: ErrUnavailable, Cause: err}
	}
	replaces := uint64(0)
	if old != nil {
		replaces = old.id
	}
	request := &profilev1.RegisterRequest{
		Name: c.config.Name, Kind: profilev1.ServerKind_SERVER_KIND_GAME_SERVER, Nonce: nonce, Replaces: replaces,
		// The epoch is not named: nothing of an older one can be reclaimed, and this is a new beginning.
		Where: c.config.Where, Cluster: c.cluster.Load().id, SeenEpoch: c.told.Load().epoch, TimingClass: c.config.TimingClass,
	}
	answer := &profilev1.RegisterResponse{}
	began := time.Now()
	out := false
	var pace wire.Pace
	var slow waitingLog
	for {
		slow.logIfDue(c, time.Now())
		left := c.config.hooks.Now()
		target := c.nodes.NodeToAsk()
		request.Ping = c.ping.portBeside(ctx, c, target)
		request.Seen = c.told.Load().highestIndex()
		sent, refusal, err := c.sendOnce(ctx, target, profilev1.Profiles_Register_FullMethodName, request, answer)
		if err == nil {
			break
		}
		if old != nil {
			old.lease.noteFailed(left)
		}
		if refusal == nil {
			out = out || sent
		} else if refusal.Reason == profilev1.Reason_REASON_ROLLED_BACK {
			return nil, refusalError("register", Ref{}, refusal, status.Convert(err).Message())
		} else if wire.MeaningOf(refusal.Reason).Retry == wire.Never {
			switch {
			case refusal.Reason == profilev1.Reason_REASON_UNAUTHORIZED && !c.nodes.allNodesRefuse():
			case refusal.Reason == profilev1.Reason_REASON_SERVER_GONE:
				return c.registerUntilAnswered(ctx, old) // this took so long that the new registration is over
			case refusal.Reason == profilev1.Reason_REASON_NAME_HELD && time.Since(began) < nameHeldFor(refusal):
			default:
				return nil, refusalError("register", Ref{}, refusal, status.Convert(err).Message())
			}
		}
		if !pace.WaitForRetry(ctx, nil, refusal) {
			switch {
			case out:
				return nil, &Error{Act: "register", Kind: ErrUnknown, Cause: context.Cause(ctx), Nodes: c.nodes.recentFailures()}
			case refusal != nil && refusal.Reason == profilev1.Reason_REASON_NAME_HELD:
				return nil, refusalError("register", Ref{}, refusal, "")
			}
			return nil, c.notSentError(ctx, "register", Ref{})
		}
	}
	of := knownCluster{id: answer.Cluster, epoch: answer.Epoch, binding: answer.Binding}
	c.cluster.Store(&of)
	c.features.Store(&answer.Features)
	c.nodes.LearnAddresses(answer.Nodes)
	c.gossipSeeds.learnSeeds(answer.Gossip)
	told := c.toldIndexFor(answer.Cluster, answer.Epoch)
	told.noteIndex(answer.Stands.GetIndex())
	timing := timingFromWire(answer.Timing)
	return &incarnation{
		told:         told,
		id:           answer.Incarnation,
		of:           of,
		registration: lock.Registration(nonce),
		timing:       timing,
		limits:       answer.Limits,
		numbers:      wire.NewNumbers(),
		lease:        &leaseState{now: c.config.hooks.Now, timing: timing},
		proved:       make(chan struct{}),
		over:         make(chan struct{}),
		held:         make(map[heldGrant]*session),
		releasing:    make(map[heldGrant]bool),
		unreleased:   make(map[heldGrant]EndReason),
	}, nil
}

// nameHeldFor is for how long a name that a living game server has is tried all the same: a predecessor that died may count
// as living for its lease.
func nameHeldFor(refusal *profilev1.Refusal) time.Duration {
	lease := time.Duration(refusal.Limit) * time.Millisecond
	return max(lease, lock.DefaultTiming().Lease) + 2*time.Second
}

func timingFromWire(t *profilev1.Timing) lock.Timing {
	timing := lock.DefaultTiming()
	set := func(to *time.Duration, ms int64) {
		if ms > 0 {
			*to = time.Duration(ms) * time.Millisecond
		}
	}
	set(&timing.Renew, t.GetRenewMs())
	set(&timing.Doubt, t.GetDoubtMs())
	set(&timing.Evidence, t.GetEvidenceMs())
	set(&timing.Lease, t.GetLeaseMs())
	set(&timing.HandOff, t.GetHandOffMs())
	return timing
}

// keepIncarnation renews one incarnation after the other, until the client is closed.
func (c *Client) keepIncarnation(l *incarnation) {
	var claiming sync.WaitGroup
	defer claiming.Wait()
	for {
		c.renewUntilOver(l)
		claiming.Wait()
		if c.ctx.Err() != nil || isClosed(c.sayingGoodbye) {
			return
		}
		c.config.Log.Warn("the incarnation is over, registering again", "incarnation", l.id, "why", l.why)
		next, err := c.registerAgain(l)
		if err != nil {
			return
		}
		c.beginIncarnation(next)
		claiming.Go(func() { c.reclaimSessions(next) })
		l = next
	}
}

// registerAgain tries until it has an incarnation, or the client is closed.
func (c *Client) registerAgain(old *incarnation) (*incarnation, error) {
	for {
		next, err := c.registerUntilAnswered(c.ctx, old)
		if err == nil || isClosed(c.sayingGoodbye) {
			return next, err
		}
		if reasonOf(err) == profilev1.Reason_REASON_ROLLED_BACK {
			c.endForGood(err)
			return nil, err
		}
		c.config.Log.Error("register again", "error", err)
		if !sleepUnlessDone(c.ctx, time.Second) {
			return nil, err
		}
	}
}

// beginIncarnation makes an incarnation the present one.
func (c *Client) beginIncarnation(l *incarnation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.incarnation = l
	c.ping.present.Store(l.id)
	close(c.incarnationChanged)
	c.incarnationChanged = make(chan struct{})
}

// awaitIncarnation is the present incarnation; it waits for one.
func (c *Client) awaitIncarnation(ctx context.Context, act string, ref Ref) (*incarnation, error) {
	for {
		c.mu.Lock()
		l, lived, closed := c.incarnation, c.incarnationChanged, c.closed || c.endWhy != nil
		c.mu.Unlock()
		if closed {
			return nil, c.closedError(act, ref)
		}
		if l != nil {
			return l, nil
		}
		select {
		case <-lived:
		case <-c.closing:
		case <-c.done:
		case <-ctx.Done():
			return nil, c.notSentError(ctx, act, ref)
		}
	}
}

// endIncarnation notes that an incarnation has ended. If the cluster took this game server for dead, its sessions are in
// doubt until they are reclaimed. If not they are over with it, and nothing of it needs releasing.
func (c *Client) endIncarnation(l *incarnation, why error) {
	c.mu.Lock()
	if l.why != nil {
		c.mu.Unlock()
		return
	}
	l.why = why
	close(l.over)
	if c.incarnation == l {
		c.incarnation = nil
		c.ping.present.Store(0)
	}
	l.mistaken = reasonOf(why) == profilev1.Reason_REASON_SERVER_GONE && !isClosed(c.sayingGoodbye)
	if l.mistaken {
		c.past = append(c.past, l)
	}
	c.forgetPastIncarnations()
	sessions := c.sessionsOf(l)
	c.mu.Unlock()
	for _, s := range sessions {
		if !l.mistaken || !s.hasBegun() {
			end := endError(s.ref, l.endReason(), nil, why)
			s.finishSession(end)
			s.giveUpKeptCopy(end)
			s.freeKey()
		}
	}
}

// endReason is how the sessions of an incarnation end that has ended.
func (l *incarnation) endReason() EndReason {
	if reason, _ := endedBy(l.why); reason != EndUnknown {
		return reason
	}
	return EndExpired
}

// sessionsOf is called under mu.
func (c *Client) sessionsOf(l *incarnation) []*session {
	sessions := make([]*session, 0, len(l.held))
	for _, s := range l.held {
		sessions = append(sessions, s)
	}
	return sessions
}

// watchDoubt tells the game of doubt, and ends sessions when its limit for doubt has run out. Its reports are for
// information only: each call of State or IsActive computes the state afresh.
func (c *Client) watchDoubt() {
	const look = 50 * time.Millisecond
	doubting, doubted := false, false
	looked := time.Now()
	turned := looked // into doubt or out of it
	for sleepUnlessDone(c.ctx, look) {
		c.mu.Lock()
		doubt := c.anyInDoubt()
		var lost []*session
		for _, l := range c.allIncarnations() {
			if l.lease.doubtExceeds(c.config.DoubtLimit) {
				lost = append(lost, c.sessionsOf(l)...)
			}
		}
		c.mu.Unlock()
		now := time.Now()
		c.counters.addDoubtTime(doubt, doubted, now.Sub(looked))
		doubted, looked = doubt, now
		if doubt != doubting {
			c.runDoubtHandlers(doubt, now.Sub(turned))
			doubting, turned = doubt, now
		}
		for _, s := range lost {
			s.endOutOfReach()
		}
	}
}

// allIncarnations are the incarnations that have sessions, the present one last. It is called under mu.
func (c *Client) allIncarnations() []*incarnation {
	if c.incarnation == nil {
		return c.past
	}
	return append(slices.Clip(c.past), c.incarnation)
}

// anyInDoubt says whether sessions may be in doubt. It is called under mu.
func (c *Client) anyInDoubt() bool {
	return c.incarnation == nil || len(c.past) > 0 || c.incarnation.lease.isInDoubt()
}

// runDoubtHandlers tells the game that sessions may be in doubt, or after so long are no more.
func (c *Client) runDoubtHandlers(doubt bool, lasted time.Duration) {
	c.reportDoubt(doubt, lasted)
	where, told := "OnResume", c.config.OnResume
	if doubt {
		where, told = "OnDoubt", c.config.OnDoubt
	}
	if told != nil {
		c.doubts.enqueue(func() { c.runHandlerAlone(where, Ref{}, told) }, c.startHandler)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
