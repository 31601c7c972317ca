package client

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/lock"
)

// leaseKeeper registers this game server and keeps its lease: one incarnation follows the other, each renewed until the
// cluster ends it, and its sessions go on under the next.
type leaseKeeper struct {
	c *Client

	mu      sync.Mutex     // guards all below, and the fields of incarnations that say so
	present *incarnation   // nil: between two
	past    []*incarnation // ended incarnations with sessions that may yet be reclaimed
	changed chan struct{}  // closed and replaced whenever present changes
}

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
	confirmed    chan struct{} // closed with the first renewal that renews
	over         chan struct{} // closed when the incarnation has ended; why is written before
	agreed       atomic.Uint64 // number of the last renewal with an answer that confirmed it and listed the sessions held here
	why          error

	// Of the goroutine that renews.
	page     *profilev1.Page  // that the next renewal asks for; nil: none
	compared *grantComparison // of which it is a page; nil: none

	// Guarded by leaseKeeper.mu.
	mistaken  bool                   // it has ended though this process lives: its sessions may be reclaimed
	held      map[heldGrant]*session // the held set that renewals report
	heldHash  uint64
	sequence  uint64             // of the last renewal
	releasing map[heldGrant]bool // grants that are being given back
	// Grants of sessions that ended while no release could be sent, with the reason. They are released once the cluster
	// lists them.
	unreleased map[heldGrant]EndReason
}

// keepIncarnation renews one incarnation after the other, until the client is closed.
func (k *leaseKeeper) keepIncarnation(l *incarnation) {
	c := k.c
	var claiming sync.WaitGroup
	defer claiming.Wait()
	for {
		k.renewUntilOver(l)
		claiming.Wait()
		if c.life.ctx.Err() != nil || isClosed(c.life.sayingGoodbye) {
			return
		}
		c.config.Log.Warn("the incarnation is over, registering again", "incarnation", l.id, "why", l.why)
		next, err := k.registerAgain(l)
		if err != nil {
			return
		}
		k.beginIncarnation(next)
		claiming.Go(func() { k.reclaimSessions(next) })
		l = next
	}
}

// registerAgain tries until it has an incarnation, or the client is closed.
func (k *leaseKeeper) registerAgain(old *incarnation) (*incarnation, error) {
	c := k.c
	for {
		next, err := k.registerUntilAnswered(c.life.ctx, old)
		if err == nil || isClosed(c.life.sayingGoodbye) {
			return next, err
		}
		if reasonOf(err) == profilev1.Reason_REASON_ROLLED_BACK {
			c.endForGood(err)
			return nil, err
		}
		c.config.Log.Error("register again", "error", err)
		if !wire.SleepUnlessDone(c.life.ctx, time.Second) {
			return nil, err
		}
	}
}

// beginIncarnation makes an incarnation the present one.
func (k *leaseKeeper) beginIncarnation(l *incarnation) {
	c := k.c
	k.mu.Lock()
	defer k.mu.Unlock()
	k.present = l
	c.ping.present.Store(l.id)
	close(k.changed)
	k.changed = make(chan struct{})
}

// presentIncarnation is nil between two incarnations.
func (k *leaseKeeper) presentIncarnation() *incarnation {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.present
}

// awaitIncarnation is the present incarnation; it waits for one.
func (k *leaseKeeper) awaitIncarnation(ctx context.Context, act string, ref Ref) (*incarnation, error) {
	c := k.c
	for {
		k.mu.Lock()
		l, changed := k.present, k.changed
		k.mu.Unlock()
		if c.life.isOver() {
			return nil, c.closedError(act, ref)
		}
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-c.life.open.Done():
		case <-c.life.done:
		case <-ctx.Done():
			return nil, c.notSentError(ctx, act, ref)
		}
	}
}

// endIncarnation notes that an incarnation has ended. If the cluster took this game server for dead, its sessions are in
// doubt until they are reclaimed. If not they are over with it, and nothing of it needs releasing.
func (k *leaseKeeper) endIncarnation(l *incarnation, why error) {
	c := k.c
	k.mu.Lock()
	if l.why != nil {
		k.mu.Unlock()
		return
	}
	l.why = why
	close(l.over)
	if k.present == l {
		k.present = nil
		c.ping.present.Store(0)
	}
	l.mistaken = reasonOf(why) == profilev1.Reason_REASON_SERVER_GONE && !isClosed(c.life.sayingGoodbye)
	if l.mistaken {
		k.past = append(k.past, l)
	}
	k.forgetPastIncarnations()
	sessions := l.listSessions()
	k.mu.Unlock()
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

// giveUpReclaims notes that nothing of the past incarnations will be reclaimed, and returns the present one.
func (k *leaseKeeper) giveUpReclaims() *incarnation {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ended := range k.past {
		ended.mistaken = false
	}
	return k.present
}

// allIncarnations are the incarnations that have sessions, the present one last. It is called under mu.
func (k *leaseKeeper) allIncarnations() []*incarnation {
	if k.present == nil {
		return k.past
	}
	return append(slices.Clip(k.past), k.present)
}

// forgetPastIncarnations lets go of ended incarnations that no session waits to leave. It is called under mu.
func (k *leaseKeeper) forgetPastIncarnations() {
	k.past = slices.DeleteFunc(k.past, func(l *incarnation) bool { return len(l.held) == 0 })
}
