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
	walkStep          = 64                    // profiles that one Walk command visits
	maxWalks          = 8                     // walks, or other proposals of the detector, at a time
	forgetStep        = 256                   // incarnations that one Forget command deletes
	forgetSteps       = 4                     // Forget commands each time
	forgetPeriod      = 10 * time.Second      // between two times
	proposeRetryPause = 20 * time.Millisecond // pause after a refused proposal of the failure detector
)

// carryOut proposes the findings of the failure detector, beside its ticks, until the leadership ends.
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

// proposeExpiries proposes expiries and waits for the outcome. Afterwards the incarnations may renew again, and the
// tables say whether they are still alive.
//
// If the outcome is unknown, the next leader may still apply these expiries. So this leader answers no renewal of these
// incarnations any more: their expiries stay open, and a waiting call ends with its own context or with the leadership.
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

// grantToWaiters grants the profiles of gone owners to their first waiters. records are those of the owners that an
// expiry of this leader ended.
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
			_, _ = d.proposeCommand(c) // if it fails, a later tick finds the work again
		})
	}
	acting.Wait()
}

// forgetGone deletes the rows of incarnations that ended more than an hour of running time ago.
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

// proposeCommand proposes a command and waits for its outcome until the leadership ends. While the queue is full it tries
// again.
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
