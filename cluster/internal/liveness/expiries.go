package liveness

import (
	"slices"
	"sync"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	grantStep    = 64 // profiles that one GrantToWaiters command visits at most
	maxProposals = 8  // proposals of the detector that run at the same time
)

// carryOutExpiries proposes the due expiries whenever there are some, until the leadership ends. It runs beside the ticks, which
// must not wait for proposals, and beside all other work, which may be long: ten thousand contested profiles must not keep a
// profile from its next owner.
func (d *Detector) carryOutExpiries() {
	for d.waitFor(d.expiriesDue) {
		d.mu.Lock()
		due := d.dueExpiries
		d.dueExpiries = nil
		d.mu.Unlock()
		for batch := range slices.Chunk(due, fsm.MaxExpiries) {
			if batch = d.dropHeard(batch); len(batch) > 0 {
				d.proposeExpiries(batch)
			}
		}
	}
}

// carryOutGrants serves the waiters of gone owners whenever there are some, until the leadership ends.
func (d *Detector) carryOutGrants() {
	for d.waitFor(d.grantsDue) {
		d.grantToWaiters(d.takeGoneOwners())
	}
}

// takeGoneOwners takes the gone owners to be served, with the records of those that an expiry of this leader has ended. An owner
// whose expiry is under way stays: the outcome, and its record, are about to be known.
func (d *Detector) takeGoneOwners() (gone []lock.Incarnation, records map[lock.Incarnation]*takeoverRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	records = map[lock.Incarnation]*takeoverRecord{}
	for inc := range d.goneOwners {
		if underWay := d.openExpiries[inc]; underWay != nil && !underWay.unclear {
			continue
		}
		gone = append(gone, inc)
		if record := d.expired[inc]; record != nil {
			records[inc] = record
		}
		delete(d.goneOwners, inc)
		delete(d.expired, inc)
	}
	slices.Sort(gone)
	return gone, records
}

// carryOutCommands proposes the due commands whenever there are some, until the leadership ends.
func (d *Detector) carryOutCommands() {
	for d.waitFor(d.commandsDue) {
		d.mu.Lock()
		due := d.dueCommands
		d.dueCommands = nil
		d.mu.Unlock()
		d.proposeEach(due)
	}
}

// waitFor waits for a token of wake. It returns false once the leadership has ended.
func (d *Detector) waitFor(wake chan struct{}) bool {
	select {
	case <-d.ctx.Done():
		return false
	case <-wake:
		return true
	}
}

// dropHeard returns the expiries that still stand: an expiry may have waited for those before it, and a game server that was
// heard since its decision is not silent any more. Its renewals are answered. A proof stands whatever was heard.
func (d *Detector) dropHeard(expiries []*fsm.Expiry) (standing []*fsm.Expiry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range expiries {
		inc := lock.Incarnation(v.Incarnation)
		if underWay := d.openExpiries[inc]; underWay.bySilence && underWay.heard {
			close(underWay.decided)
			delete(d.openExpiries, inc)
			delete(d.records, inc)
			continue
		}
		standing = append(standing, v)
	}
	return standing
}

// proposeExpiries proposes expiries in one command and waits for the outcome. Whether they were applied or refused,
// renewals of these incarnations then no longer wait, and the tables say whether they are still alive. If they were
// applied, the waiters of their profiles are served.
//
// If the outcome is unknown, the next leader may still apply the expiries. So this leader answers no renewal of these
// incarnations any more: their expiries stay open, and a waiting call ends with its own context or with the leadership.
func (d *Detector) proposeExpiries(expiries []*fsm.Expiry) {
	records := d.beginRecords(expiries)
	command := fsm.NewCommand(nil, &fsm.ExpireServers{Term: d.leadership.Term(), Expiries: expiries})
	_, err := d.leadership.Propose(d.ctx, command)
	if err != nil && !d.leadership.IsRefusal(err) {
		d.mu.Lock()
		for _, v := range expiries {
			if underWay := d.openExpiries[lock.Incarnation(v.Incarnation)]; underWay != nil {
				underWay.unclear = true
			}
		}
		d.mu.Unlock()
		d.logUnclear(records, err)
		return
	}
	d.logOutcome(records, err)
	d.mu.Lock()
	for _, v := range expiries {
		inc := lock.Incarnation(v.Incarnation)
		if underWay := d.openExpiries[inc]; underWay != nil {
			close(underWay.decided)
			delete(d.openExpiries, inc)
		}
		if err == nil {
			d.goneOwners[inc] = struct{}{}
			d.expired[inc] = records[inc]
		}
	}
	d.mu.Unlock()
	d.wakeUp()
}

// grantToWaiters grants the profiles of gone owners to their first waiters. records holds the records of the owners that an
// expiry of this leader has ended.
func (d *Detector) grantToWaiters(gone []lock.Incarnation, records map[lock.Incarnation]*takeoverRecord) {
	var granting sync.WaitGroup
	slots := make(chan struct{}, maxProposals)
	for _, inc := range gone {
		slots <- struct{}{}
		granting.Go(func() {
			defer func() { <-slots }()
			granted := uint64(0)
			for {
				command := fsm.NewCommand(nil, &fsm.GrantToWaiters{Incarnation: uint64(inc), Limit: grantStep})
				result, err := d.leadership.Propose(d.ctx, command)
				granted += result.Granted
				if err != nil || !result.More {
					d.logGranted(records[inc], granted, err)
					return
				}
			}
		})
	}
	granting.Wait()
}

// proposeEach proposes commands and waits for their outcomes.
func (d *Detector) proposeEach(commands []*fsm.Command) {
	var acting sync.WaitGroup
	slots := make(chan struct{}, maxProposals)
	for _, c := range commands {
		slots <- struct{}{}
		acting.Go(func() {
			defer func() { <-slots }()
			_, _ = d.leadership.Propose(d.ctx, c) // if it fails, a later tick finds the work again
		})
	}
	acting.Wait()
}
