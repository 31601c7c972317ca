package lock

import (
	"errors"
	"fmt"
	"time"
)

// ClockRatio is the greatest ratio between the speeds of two machines' clocks that the lease argument allows for.
const ClockRatio = 1.2

// MaxTick is the longest time between two ticks of a failure detector. Every timing class is checked against it in apply,
// so it is part of the format: a build that changes it needs a new level.
const MaxTick = 500 * time.Millisecond

// The bounds of a timing class are part of the format, like MaxTick.
const (
	LeastRenew = 50 * time.Millisecond
	MostTiming = time.Hour // for each of the five times
)

// Timing is a timing class: the times that both halves of the lease argument use. The owner counts from the moment at which
// it sent the request whose answer renewed it, the failure detector from the moment at which that request arrived, so the
// owner is always in doubt before it expires. The five times are copied into an incarnation's row when it registers, and
// both halves use that copy.
type Timing struct {
	Renew    time.Duration // an owner renews this often
	Doubt    time.Duration // an owner is in doubt this long after it sent the last request that renewed it
	Evidence time.Duration // silence after which evidence of the owner's death counts
	Lease    time.Duration // silence that suffices without evidence
	HandOff  time.Duration // how long an owner may take to let go
}

// DefaultTiming tolerates one lost renewal and two slow ones before the owner is in doubt.
func DefaultTiming() Timing {
	return Timing{
		Renew:    1 * time.Second,
		Doubt:    3 * time.Second,
		Evidence: 4500 * time.Millisecond,
		Lease:    10 * time.Second,
		HandOff:  10 * time.Second,
	}
}

// Validate reports every relation that does not hold. It is called in apply, so it calculates in integers only, and gives
// the same answer on every node.
func (t Timing) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, x := range []struct {
		name string
		time time.Duration
	}{{"renew", t.Renew}, {"doubt", t.Doubt}, {"evidence", t.Evidence}, {"lease", t.Lease}, {"hand-off", t.HandOff}} {
		check(x.time >= 0 && x.time <= MostTiming, "%s %v must be between 0 and %v", x.name, x.time, MostTiming)
		check(x.time%time.Millisecond == 0, "%s %v must be whole milliseconds", x.name, x.time)
	}
	if len(faults) > 0 {
		return errors.Join(faults...) // the sums below could overflow
	}
	check(t.Renew >= LeastRenew, "renew %v must be at least %v", t.Renew, LeastRenew)
	check(t.Doubt >= 2*t.Renew, "doubt %v must leave room for two renewals of %v", t.Doubt, t.Renew)
	least := t.Doubt + t.Doubt/5 + MaxTick // ClockRatio
	check(t.Evidence > least, "evidence %v must be above %v (1.2 x doubt + %v), or an owner could lose its profiles before it is in doubt", t.Evidence, least, MaxTick)
	check(t.Lease > t.Evidence, "lease %v must be above evidence %v", t.Lease, t.Evidence)
	check(t.HandOff > t.Doubt, "hand-off %v must be above doubt %v", t.HandOff, t.Doubt)
	return errors.Join(faults...)
}

// InDoubt is the owner's half of the lease argument: passed is the time since it sent the last request that renewed it, the
// greater of its monotonic and wall clock's.
func (t Timing) InDoubt(passed time.Duration) bool { return passed >= t.Doubt }

// LapseIsDue says whether a revoked owner that has been mute for this long must be in doubt, so that its grant may lapse.
func (t Timing) LapseIsDue(mute time.Duration) bool { return mute >= t.Evidence }

// LastSaveLimit returns how long an owner that is asked to let go may take for its last save, if the leader says that the
// hand-off has been pending for so long: to 0.7 of the hand-off time, after which the session is revoked. A new leader
// leaves half of that time at least; a tenth is there in any case, so that the owner tries once.
func (t Timing) LastSaveLimit(pending time.Duration) time.Duration {
	return max(t.HandOff*7/10-pending, t.HandOff/10)
}

// Detector holds the settings of a node's failure detector, which runs while the node leads.
type Detector struct {
	TickPeriod time.Duration `json:"tick_period"` // time between two ticks
	PingPeriod time.Duration `json:"ping_period"` // time between two tries of a game server's ping port
	ReachFor   time.Duration `json:"reach_for"`   // a refusal counts only this long after the last answer, which showed that this node reaches the port
	RefusalGap time.Duration `json:"refusal_gap"` // least time between two refusals that count as proof
}

// DefaultDetector ticks often enough to find proof within half a second.
func DefaultDetector() Detector {
	return Detector{TickPeriod: 250 * time.Millisecond, PingPeriod: 20 * time.Second, ReachFor: time.Minute, RefusalGap: 250 * time.Millisecond}
}

// Validate reports every relation that does not hold.
func (d Detector) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(d.TickPeriod > 0, "tick %v must be above zero", d.TickPeriod)
	check(d.TickPeriod <= MaxTick, "tick %v must not be above %v: the cluster's timing classes rely on that bound for every node", d.TickPeriod, MaxTick)
	check(d.PingPeriod > 0 && d.RefusalGap > 0, "ping %v and again %v must be above zero", d.PingPeriod, d.RefusalGap)
	check(d.ReachFor >= 2*d.PingPeriod, "reach %v must leave room for two pings every %v", d.ReachFor, d.PingPeriod)
	check(d.RefusalGap <= MaxTick, "again %v must not be above %v, or proof could come no sooner than evidence", d.RefusalGap, MaxTick)
	return errors.Join(faults...)
}
