package server

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Pauses that a game server is asked for before it tries to register again. It doubles them, and draws its time at random.
const (
	registrationPause   = time.Second
	tooManyServersPause = 5 * time.Second // until some may have ended
)

// registrationRate counts the registrations that a node takes as the leader. A second's worth may come at once.
type registrationRate struct {
	mu        sync.Mutex
	perSecond int64
	bucket    *rate.Limiter
}

// takeOne takes one registration, and returns false if that would be too many. A cluster without the policy has no limit, 0.
func (r *registrationRate) takeOne(perSecond int64) bool {
	if perSecond == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.perSecond != perSecond {
		r.perSecond, r.bucket = perSecond, rate.NewLimiter(rate.Limit(perSecond), int(perSecond))
	}
	return r.bucket.Allow()
}

// limitRegistrations refuses a registration beyond the cluster's rate, which the leader counts in memory. Whoever comes back after
// an expiry is neither counted nor refused: after a false expiry all game servers come at once, and each still holds sessions
// that it can reclaim only within its limit for doubt.
func (s profilesService) limitRegistrations(q *profilev1.RegisterRequest) error {
	if _, leads := s.node.Leader(); !leads {
		return nil // the log refuses it
	}
	view, err := s.node.View()
	if err != nil {
		return s.refusals.readError(err)
	}
	defer func() { _ = view.Close() }()
	perSecond, err := view.DefaultPolicy(fsm.PolicyRegistrations)
	if err != nil {
		return s.refusals.brokenError(0, err)
	}
	repeats, err := view.Registered(q.GetNonce())
	if err != nil {
		return s.refusals.brokenError(0, err)
	}
	returns, err := returnsAfterExpiry(view, q)
	if err != nil {
		return s.refusals.brokenError(0, err)
	}
	if repeats || returns || s.registrations.takeOne(perSecond) {
		return nil
	}
	return limitedError(fsm.PolicyRegistrations, uint64(perSecond), registrationPause)
}

// returnsAfterExpiry says that a registration comes from the process whose incarnation has ended without its goodbye.
func returnsAfterExpiry(view *View, q *profilev1.RegisterRequest) (bool, error) {
	if q.GetReplaces() == 0 || q.GetReturning() == 0 {
		return false, nil
	}
	old, ok, err := view.Server(lock.Incarnation(q.GetReplaces()))
	return ok && !old.Alive && old.Ground != lock.Goodbye && lock.Registration(old.Nonce) == q.GetReturning(), err
}

func limitedError(policy string, limit uint64, pause time.Duration) error {
	return refusalError(&profilev1.Refusal{
		Reason: profilev1.Reason_REASON_REGISTRATION_LIMITED, Policy: policy, Limit: limit, RetryAfterMs: uint64(pause.Milliseconds()),
	}, "")
}

// From so many living game servers on a client keeps two connections and not one to each node; with so many fewer it does so
// no more, so that a cluster at the limit does not change its mind.
const (
	manyServers      = 500
	manyServersSpare = 50
)

// fewConnections says whether clients are to keep few connections. It holds what they were told last.
type fewConnections struct{ atomic.Bool }

func (f *fewConnections) decide(living uint64) bool {
	few := living >= manyServers || f.Load() && living >= manyServers-manyServersSpare
	f.Store(few)
	return few
}
