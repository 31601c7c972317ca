package liveness

import (
	"slices"
	"sync"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	grantStep    = 64 // profiles that one GrantToWaiters command visits
	maxProposals = 8  // of the detector, at a time
)

// carryOut proposes the findings of the failure detector, beside its ticks, until the leadership ends.
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

// proposeExpiries proposes expiries and waits for the outcome. Afterwards the incarnations may renew again, and the
// tables say whether they are still alive.
//
// If the outcome is unknown, the next leader may still apply these expiries. So this leader answers no renewal of these
// incarnations any more: their expiries stay open, and a waiting call ends with its own context or with the leadership.
func (d *Detector) proposeExpiries(expiries []*fsm.Expiry) {
	records := d.beginRecords(expiries)
	_, err := d.leadership.Propose(d.ctx, fsm.NewCommand(nil, &fsm.ExpireServers{Term: d.leadership.Term(), Expiries: expiries}))
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

// grantToWaiters grants the profiles of gone owners to their first waiters. records are those of the owners that an
// expiry of this leader ended.
func (d *Detector) grantToWaiters(gone []lock.Incarnation, records map[lock.Incarnation]*takeoverRecord) {
	var granting sync.WaitGroup
	slots := make(chan struct{}, maxProposals)
	for _, inc := range gone {
		slots <- struct{}{}
		granting.Go(func() {
			defer func() { <-slots }()
			granted := uint64(0)
			for {
				result, err := d.leadership.Propose(d.ctx, fsm.NewCommand(nil, &fsm.GrantToWaiters{Incarnation: uint64(inc), Limit: grantStep}))
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
