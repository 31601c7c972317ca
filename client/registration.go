package client

import (
	"context"
	"crypto/rand"
	"time"

	"google.golang.org/grpc/status"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/wire"
	"github.com/profilenode/profilenode/lock"
)

// registerUntilAnswered makes an incarnation, after another one or none. It is one registration, with one nonce, until a
// node says that this nonce's incarnation is over.
func (k *leaseKeeper) registerUntilAnswered(ctx context.Context, old *incarnation) (*incarnation, error) {
	c := k.c
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, &Error{Act: "register", Kind: ErrUnavailable, Cause: err}
	}
	replaces, returning := uint64(0), uint64(0)
	if old != nil {
		replaces, returning = old.id, old.registration
	}
	request := &profilev1.RegisterRequest{
		Name: c.config.Name, Kind: profilev1.ServerKind_SERVER_KIND_GAME_SERVER, Nonce: nonce, Replaces: replaces, Returning: returning,
		// The epoch is not named: nothing of an older one can be reclaimed, and this is a new beginning.
		Where: c.config.Where, Cluster: c.link.cluster.Load().id, SeenEpoch: c.link.told.Load().epoch, TimingClass: c.config.TimingClass,
	}
	answer := &profilev1.RegisterResponse{}
	began := time.Now()
	out := false
	var pace wire.Pace
	var slow waitingLog
	for {
		slow.logIfDue(c, time.Now())
		left := c.config.hooks.Now()
		target := c.link.nodes.NodeToAsk()
		request.Ping = c.ping.portBeside(ctx, c, target)
		request.Seen = c.link.told.Load().highestIndex()
		sent, refusal, err := c.link.sendOnce(ctx, target, profilev1.Profiles_Register_FullMethodName, request, answer)
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
			case refusal.Reason == profilev1.Reason_REASON_UNAUTHORIZED && !c.link.nodes.allNodesRefuse():
			case refusal.Reason == profilev1.Reason_REASON_SERVER_GONE:
				return k.registerUntilAnswered(ctx, old) // this took so long that the new registration is over
			case refusal.Reason == profilev1.Reason_REASON_NAME_HELD && time.Since(began) < nameHeldFor(refusal):
			default:
				return nil, refusalError("register", Ref{}, refusal, status.Convert(err).Message())
			}
		}
		if !pace.WaitForRetry(ctx, nil, refusal) {
			switch {
			case out:
				return nil, &Error{Act: "register", Kind: ErrUnknown, Cause: context.Cause(ctx), Nodes: c.link.nodes.recentFailures()}
			case refusal != nil && refusal.Reason == profilev1.Reason_REASON_NAME_HELD:
				return nil, refusalError("register", Ref{}, refusal, "")
			}
			return nil, c.notSentError(ctx, "register", Ref{})
		}
	}
	of := knownCluster{id: answer.Cluster, epoch: answer.Epoch, binding: answer.Binding}
	c.link.cluster.Store(&of)
	c.link.features.Store(&answer.Features)
	c.link.nodes.LearnAddresses(answer.Nodes)
	c.gossipSeeds.learnSeeds(answer.Gossip)
	told := c.link.toldIndexFor(answer.Cluster, answer.Epoch)
	told.noteIndex(answer.Header.GetIndex())
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
		confirmed:    make(chan struct{}),
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
