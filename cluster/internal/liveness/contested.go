package liveness

import (
	"maps"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// MaxContested is the number of contested grants that one tick reads at most.
const MaxContested = 10_000

// contestedGrant identifies a grant that has waiters, or that is revoked and not acknowledged, and in which of the two
// states it is: a revocation begins a new wait.
type contestedGrant struct {
	store, key string
	token      lock.Token
	revoked    bool
	wantedMS   int64 // fsm.GrantRow.WantedMS, 0 once it is revoked: a request after one that was taken back is another
}

func contestedGrantOf(g fsm.OwnedGrant) contestedGrant {
	key := contestedGrant{store: g.Store, key: g.Key, token: g.Token, revoked: g.Revoked}
	if !g.Revoked {
		key.wantedMS = g.WantedMS
	}
	return key
}

// PendingSince returns how long this leader has been waiting for the owner of a contested grant. ok is false if no tick
// has seen the contest yet.
func (d *Detector) PendingSince(g fsm.OwnedGrant) (pending time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, ok := d.contestedSince[contestedGrantOf(g)]
	return max(0, time.Since(first)), ok
}

// checkContested queues a Revoke for each owner that was asked to let go and has not within the hand-off time, and a
// Lapse for each owner of a revoked grant that has not acknowledged within evidence time. It notes gone owners of
// profiles that have waiters. now is a time before the tables were read. mu must be held.
func (d *Detector) checkContested(now time.Time, contested []fsm.OwnedGrant) {
	current := make(map[contestedGrant]bool, len(contested))
	stampMS, stamped := d.leadership.Timestamp()
	for _, g := range contested {
		key := contestedGrantOf(g)
		current[key] = true
		timing, alive := d.livingTimings[g.Owner]
		if !alive {
			if g.Owner != 0 {
				d.goneOwners[g.Owner] = struct{}{}
			}
			continue
		}
		// An expiry under way ends every grant of the owner. If it is refused, the next tick finds the contest again.
		if underWay := d.openExpiries[g.Owner]; underWay != nil && !underWay.unclear {
			continue
		}
		first, known := d.contestedSince[key]
		if !known {
			first = now
			d.contestedSince[key] = first
			if !g.Revoked {
				d.unagedHandOffs[key] = struct{}{}
			}
		}
		if _, unaged := d.unagedHandOffs[key]; unaged && stamped {
			delete(d.unagedHandOffs, key)
			first = d.ageHandOff(first, now, stampMS-g.WantedMS, timing)
			d.contestedSince[key] = first
		}
		switch passed := now.Sub(first); {
		case g.Revoked && timing.LapseIsDue(passed):
			lapse := &fsm.Lapse{Term: d.leadership.Term(), Store: g.Store, Key: g.Key, Token: uint64(g.Token)}
			d.dueCommands = append(d.dueCommands, fsm.NewCommand(nil, lapse))
		case !g.Revoked && passed >= timing.HandOff:
			revoke := &fsm.Revoke{Store: g.Store, Key: g.Key, Token: uint64(g.Token), Waited: true}
			d.dueCommands = append(d.dueCommands, fsm.NewCommand(nil, revoke))
		default:
			continue
		}
		d.contestedSince[key] = now // a command that fails is proposed again after the same time
	}
	over := func(key contestedGrant) bool { return !current[key] && d.contestedSince[key].Before(now) }
	maps.DeleteFunc(d.contestedSince, func(key contestedGrant, _ time.Time) bool { return over(key) })
	maps.DeleteFunc(d.unagedHandOffs, func(key contestedGrant, _ struct{}) bool { return !current[key] })
}

// ageHandOff returns the time since which the owner of a contested grant counts as waited for, if a leader before this one
// was told so ageMS ago by timestamps. first is when this leader saw the grant.
//
// The failure of a leader does not begin a hand-off anew. But at least half of its time is left after this leader's opening
// command: an owner that no leader answered meanwhile, within its limit for doubt, hears of the request only now, and a
// timestamp may come from a clock that was wrong. A lapse has no age: only what this leader has seen shows that the owner
// was told, or must be in doubt.
func (d *Detector) ageHandOff(first, now time.Time, ageMS int64, timing lock.Timing) time.Time {
	age := time.Duration(min(max(ageMS, 0), timing.HandOff.Milliseconds())) * time.Millisecond
	began := now.Add(-age)
	if earliest := d.leadership.OpenedAt().Add(-timing.HandOff / 2); began.Before(earliest) {
		began = earliest
	}
	if began.After(first) {
		return first
	}
	return began
}
