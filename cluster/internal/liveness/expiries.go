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

// carryOut proposes the due work whenever there is some, until the leadership ends. It runs beside the ticks, which must
// not wait for proposals.
func (d *Detector) carryOut() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.wake:
		}
		s := d.takeDueWork()
		for batch := range slices.Chunk(s.expiries, fsm.MaxExpiries) {
			d.proposeExpiries(batch)
		}
		d.grantToWaiters(s.goneOwners, nil)
		d.proposeEach(s.commands)
	}
}

// proposeExpiries proposes expiries in one command and waits for the outcome. Whether they were applied or refused,
// renewals of these incarnations then no longer wait, and the tables say whether they are still alive. If they were
// applied, it also serves the waiters of their profiles.
//
// If the outcome is unknown, the next leader may still apply the expiries. So this leader answers no renewal of these
// incarnations any more: their expiries stay open, and a waiting call ends with its own context or with the leadership.
func (d *Detector) proposeExpiries(expiries []*fsm.Expiry) {
	records := d.beginRecords(expiries)
	command := fsm.NewCommand(nil, &fsm.ExpireServers{Term: d.leadership.Term(), Expiries: expiries})
	_, err := d.leadership.Propose(d.ctx, command)
	if err != nil && !d.leadership.IsRefusal(err) {
		d.logUnclear(records, err)
		return
	}
	var gone []lock.Incarnation
	d.mu.Lock()
	for _, v := range expiries {
		inc := lock.Incarnation(v.Incarnation)
		if underWay := d.openExpiries[inc]; underWay != nil {
			close(underWay)
			delete(d.openExpiries, inc)
		}
		gone = append(gone, inc)
	}
	d.mu.Unlock()
	d.logOutcome(records, err)
	if err == nil {
		d.grantToWaiters(gone, records)
	}
}

// grantToWaiters grants the profiles of gone owners to their first waiters. records holds the records of the owners that an
// expiry of this leader has ended; it may be nil.
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
