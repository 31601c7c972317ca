package lock

import (
	"errors"
	"fmt"
	"time"
)

// ClockRatio is how much faster one machine's clock may run than another's.
const ClockRatio = 1.2

// Timing is what both halves of the lease argument count with. The owner counts from the moment it sent the request
// whose answer renewed it, the judge from the moment that request arrived, so the owner always knows first.
type Timing struct {
	Renew    time.Duration // an owner renews this often
	Doubt    time.Duration // an owner is in doubt this long after the send time of the last request that renewed it
	Evidence time.Duration // silence after which evidence of death counts
	Lease    time.Duration // silence that is enough by itself
	HandOff  time.Duration // how long an owner may take to let go
	Tick     time.Duration // how often the judge looks
	Ping     time.Duration // a leader tries the ping port of a game server this often
	Reach    time.Duration // an answer shows for this long that this leader reaches that port, so that a refusal means something
	Again    time.Duration // between two refusals that prove
}

// DefaultTiming survives a lost renewal and two slow ones before anybody is in doubt.
func DefaultTiming() Timing {
	return Timing{
		Renew:    1 * time.Second,
		Doubt:    3 * time.Second,
		Evidence: 4500 * time.Millisecond,
		Lease:    10 * time.Second,
		HandOff:  10 * time.Second,
		Tick:     250 * time.Millisecond,
		Ping:     20 * time.Second,
		Reach:    time.Minute,
		Again:    250 * time.Millisecond,
	}
}

// Validate reports every relation that does not hold.
func (t Timing) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(t.Tick > 0 && t.Renew > 0, "tick %v and renew %v must be above zero", t.Tick, t.Renew)
	check(t.Doubt >= 2*t.Renew, "doubt %v must leave room for two renewals of %v", t.Doubt, t.Renew)
	least := time.Duration(float64(t.Doubt)*ClockRatio) + t.Tick
	check(t.Evidence > least, "evidence %v must be above %v, or an owner could be robbed before it is in doubt", t.Evidence, least)
	check(t.Lease > t.Evidence, "lease %v must be above evidence %v", t.Lease, t.Evidence)
	check(t.Ping > 0 && t.Again > 0, "ping %v and again %v must be above zero", t.Ping, t.Again)
	check(t.Reach >= 2*t.Ping, "reach %v must leave room for two pings every %v", t.Reach, t.Ping)
	check(t.Again < t.Evidence, "again %v must be below evidence %v, or proof would come no sooner than evidence", t.Again, t.Evidence)
	check(t.HandOff > t.Doubt, "hand-off %v must be above doubt %v", t.HandOff, t.Doubt)
	return errors.Join(faults...)
}

// InDoubt is the owner's half: passed is the time since it sent the last request that renewed it, by whichever of its
// clocks says more.
func (t Timing) InDoubt(passed time.Duration) bool { return passed >= t.Doubt }

// Lapsed says whether a revoked owner that has been mute for this long must be in doubt.
func (t Timing) Lapsed(mute time.Duration) bool { return mute >= t.Evidence }
