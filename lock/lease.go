package lock

import (
	"errors"
	"fmt"
	"time"
)

// ClockRatio is how much faster one machine's clock may run than another's.
const ClockRatio = 1.2

// MaxTick is the longest that a node may take between two looks for game servers that are gone. Every timing class counts
// with it, so it is part of the format: a build that changes it needs a new level.
const MaxTick = 500 * time.Millisecond

// Bounds of a timing class. They are part of the format too.
const (
	LeastRenew = 50 * time.Millisecond
	MostTiming = time.Hour // of each of the five times
)

// Timing is a timing class: what both halves of the lease argument count with. The owner counts from the moment it sent
// the request whose answer renewed it, the judge from the moment that request arrived, so the owner always knows first.
// The five are copied into an incarnation's row when it registers, and both count with that copy.
type Timing struct {
	Renew    time.Duration // an owner renews this often
	Doubt    time.Duration // an owner is in doubt this long after the send time of the last request that renewed it
	Evidence time.Duration // silence after which evidence of death counts
	Lease    time.Duration // silence that is enough by itself
	HandOff  time.Duration // how long an owner may take to let go
}

// DefaultTiming survives a lost renewal and two slow ones before anybody is in doubt.
func DefaultTiming() Timing {
	return Timing{
		Renew:    1 * time.Second,
		Doubt:    3 * time.Second,
		Evidence: 4500 * time.Millisecond,
		Lease:    10 * time.Second,
		HandOff:  10 * time.Second,
	}
}

// Validate reports every relation that does not hold, whichever node leads. It decides in apply, so it counts in whole
// numbers alone.
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
		return errors.Join(faults...) // beyond them the sums below mean nothing
	}
	check(t.Renew >= LeastRenew, "renew %v must be at least %v", t.Renew, LeastRenew)
	check(t.Doubt >= 2*t.Renew, "doubt %v must leave room for two renewals of %v", t.Doubt, t.Renew)
	least := t.Doubt + t.Doubt/5 + MaxTick // ClockRatio
	check(t.Evidence > least, "evidence %v must be above %v (1.2 x doubt + %v), or an owner could be robbed before it is in doubt", t.Evidence, least, MaxTick)
	check(t.Lease > t.Evidence, "lease %v must be above evidence %v", t.Lease, t.Evidence)
	check(t.HandOff > t.Doubt, "hand-off %v must be above doubt %v", t.HandOff, t.Doubt)
	return errors.Join(faults...)
}

// InDoubt is the owner's half: passed is the time since it sent the last request that renewed it, by whichever of its
// clocks says more.
func (t Timing) InDoubt(passed time.Duration) bool { return passed >= t.Doubt }

// LapseIsDue says whether a revoked owner that has been mute for this long must be in doubt.
func (t Timing) LapseIsDue(mute time.Duration) bool { return mute >= t.Evidence }

// Detector is how a node that leads looks for game servers that are gone.
type Detector struct {
	TickPeriod time.Duration // how often it looks
	PingPeriod time.Duration // it tries the ping port of a game server this often
	ReachFor   time.Duration // an answer shows for this long that this node reaches that port, so that a refusal means something
	RefusalGap time.Duration // between two refusals that prove
}

// DefaultDetector looks often enough for proof to come within half a second.
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
	check(d.TickPeriod <= MaxTick, "tick %v must not be above %v: the cluster's timing classes count on it that every node looks as often", d.TickPeriod, MaxTick)
	check(d.PingPeriod > 0 && d.RefusalGap > 0, "ping %v and again %v must be above zero", d.PingPeriod, d.RefusalGap)
	check(d.ReachFor >= 2*d.PingPeriod, "reach %v must leave room for two pings every %v", d.ReachFor, d.PingPeriod)
	check(d.RefusalGap <= MaxTick, "again %v must not be above %v, or proof could come no sooner than evidence", d.RefusalGap, MaxTick)
	return errors.Join(faults...)
}
