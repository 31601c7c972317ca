package cluster

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

const (
	walkStep          = 64                    // profiles in one step of a walk
	maxWalks          = 8                     // walks at a time
	forgetStep        = 256                   // incarnations in one step of forgetting
	forgetSteps       = 4                     // steps each time
	forgetPeriod      = 10 * time.Second      // between two times
	proposeRetryPause = 20 * time.Millisecond // after a refused proposal of the judge's
)

// carryOut carries out the findings of the failure detector, beside its ticks, until the lead is over.
func (d *failureDetector) carryOut() {
	forget := time.NewTicker(forgetPeriod)
	defer forget.Stop()
	minute := time.NewTicker(calendarTick)
	defer minute.Stop()
	for {
		select {
		case <-d.leader.ctx.Done():
			return
		case <-d.wake:
		case <-minute.C:
			d.leader.calendar.noteTime(d.leader.clock.nextTimestamp())
		case <-forget.C:
			d.forgetGone()
		}
		s := d.takeDueWork()
		for batch := range slices.Chunk(s.expiries, fsm.MaxExpiries) {
			d.proposeExpiries(batch)
		}
		d.grantToWaiters(s.walks, nil)
		d.proposeEach(s.commands)
	}
}

// proposeExpiries proposes expiries. After an outcome the judged game servers may renew again: the tables say whether they
// still live. When the outcome is unknown, the next leader may yet carry the verdicts out, so for the rest of this lead no
// renewal of those judged is answered: their expiries stay open, and a call that waits for one leaves with the lead or by
// itself.
func (d *failureDetector) proposeExpiries(expiries []*fsm.Verdict) {
	records := d.beginRecords(expiries)
	_, err := d.proposeCommand(fsm.NewCommand(nil, &fsm.ExpireServers{Term: d.leader.term, Verdicts: expiries}))
	if err != nil && !isRefusal(err) {
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

// grantToWaiters serves the waiters of gone owners. records are of those that an expiry ended.
func (d *failureDetector) grantToWaiters(gone []lock.Incarnation, records map[lock.Incarnation]*takeoverRecord) {
	var walking sync.WaitGroup
	slots := make(chan struct{}, maxWalks)
	for _, inc := range gone {
		slots <- struct{}{}
		walking.Go(func() {
			defer func() { <-slots }()
			granted := uint64(0)
			for {
				result, err := d.proposeCommand(fsm.NewCommand(nil, &fsm.Walk{Incarnation: uint64(inc), Limit: walkStep}))
				granted += result.Granted
				if err != nil || !result.More {
					d.logGranted(records[inc], granted, err)
					return
				}
			}
		})
	}
	walking.Wait()
}

func (d *failureDetector) proposeEach(commands []*fsm.Command) {
	var acting sync.WaitGroup
	slots := make(chan struct{}, maxWalks)
	for _, c := range commands {
		slots <- struct{}{}
		acting.Go(func() {
			defer func() { <-slots }()
			_, _ = d.proposeCommand(c) // the next tick finds those still due
		})
	}
	acting.Wait()
}

// forgetGone drops the rows of incarnations that ended more than an hour of running ago.
func (d *failureDetector) forgetGone() {
	before, ok := d.leader.calendar.hourAgo()
	if !ok {
		return
	}
	for range forgetSteps {
		view, err := d.leader.node.tables.openView()
		if err != nil {
			return
		}
		due, err := view.GoneBefore(before)
		view.Close()
		if err != nil || !due {
			return
		}
		result, err := d.proposeCommand(fsm.NewCommand(nil, &fsm.Forget{BeforeMs: before, Limit: forgetStep}))
		if err != nil || !result.More {
			return
		}
	}
}

// proposeCommand waits for the outcome, until the lead is over. A full queue is waited out.
func (d *failureDetector) proposeCommand(c *fsm.Command) (fsm.Result, error) {
	for {
		began := time.Now()
		result, err := d.leader.queue.proposeAndWait(d.leader.ctx, c)
		d.leader.node.config.Metrics.RecordProposal(c, result, time.Since(began), err)
		if !errors.Is(err, ErrBusy) || d.leader.ctx.Err() != nil {
			return result, err
		}
		select {
		case <-d.leader.ctx.Done():
		case <-time.After(proposeRetryPause):
		}
	}
}
