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
	check(t.HandOff > t.Doubt, "hand-off %v must be above doubt %v", t.HandOff, t.Doubt)
	return errors.Join(faults...)
}

// InDoubt is the owner's half: passed is the time since it sent the last request that renewed it, by whichever of its
// clocks says more.
func (t Timing) InDoubt(passed time.Duration) bool { return passed >= t.Doubt }

// Ground is why an incarnation counts as gone.
type Ground uint8

const (
	Living   Ground = iota
	Goodbye         // it said so
	Proof           // its own host proves it
	Evidence        // its stream or gossip says so, and it has been silent
	Silence         // it has been silent for a lease
)

func (g Ground) String() string {
	switch g {
	case Goodbye:
		return "goodbye"
	case Proof:
		return "proof"
	case Evidence:
		return "evidence"
	case Silence:
		return "silence"
	}
	return "living"
}

// Signals is what a leader knows of an incarnation.
type Signals struct {
	Silent time.Duration // since it was heard, or since this leader's opening command was applied, whichever is less, less the time by which the judge's own ticks came late
}

// Judge is the judge's half.
func (t Timing) Judge(s Signals) Ground {
	if s.Silent >= t.Lease {
		return Silence
	}
	return Living
}

// Lapsed says whether a revoked owner that has been mute for this long must be in doubt.
func (t Timing) Lapsed(mute time.Duration) bool { return mute >= t.Evidence }
