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
	walkStep    = 64                    // profiles in one step of a walk
	walkers     = 8                     // walks at a time
	forgetStep  = 256                   // incarnations in one step of forgetting
	forgetSteps = 4                     // steps each time
	forgetEvery = 10 * time.Second      // between two times
	actPause    = 20 * time.Millisecond // after a refused proposal of the judge's
)

// carryOut carries out the findings of the failure detector, beside its ticks, until the lead is over.
func (j *failureDetector) carryOut() {
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	minute := time.NewTicker(calendarTick)
	defer minute.Stop()
	for {
		select {
		case <-j.l.ctx.Done():
			return
		case <-j.wake:
		case <-minute.C:
			j.l.dates.noteTime(j.l.clock.nextTimestamp())
		case <-forget.C:
			j.forgetGone()
		}
		s := j.takeDueExpiries()
		for batch := range slices.Chunk(s.verdicts, fsm.MaxExpiries) {
			j.proposeExpiries(batch)
		}
		j.grantToWaiters(s.walks, nil)
		j.proposeEach(s.acts)
	}
}

// proposeExpiries proposes expiries. After an outcome the judged game servers may renew again: the tables say whether they
// still live. When the outcome is unknown, the next leader may yet carry the verdicts out, so for the rest of this lead no
// renewal of those judged is answered: their expiries stay open, and a call that waits for one leaves with the lead or by
// itself.
func (j *failureDetector) proposeExpiries(verdicts []*fsm.Verdict) {
	stories := j.beginRecords(verdicts)
	_, err := j.proposeCommand(fsm.NewCommand(nil, &fsm.ExpireServers{Term: j.l.term, Verdicts: verdicts}))
	if err != nil && !isRefusal(err) {
		j.logUnclear(stories, err)
		return
	}
	var gone []lock.Incarnation
	j.mu.Lock()
	for _, v := range verdicts {
		inc := lock.Incarnation(v.Incarnation)
		if trial := j.trials[inc]; trial != nil {
			close(trial)
			delete(j.trials, inc)
		}
		gone = append(gone, inc)
	}
	j.mu.Unlock()
	j.logOutcome(stories, err)
	if err == nil {
		j.grantToWaiters(gone, stories)
	}
}

// grantToWaiters serves the waiters of gone owners. records are of those that an expiry ended.
func (j *failureDetector) grantToWaiters(gone []lock.Incarnation, stories map[lock.Incarnation]*takeoverRecord) {
	var walking sync.WaitGroup
	slots := make(chan struct{}, walkers)
	for _, inc := range gone {
		slots <- struct{}{}
		walking.Go(func() {
			defer func() { <-slots }()
			granted := uint64(0)
			for {
				result, err := j.proposeCommand(fsm.NewCommand(nil, &fsm.Walk{Incarnation: uint64(inc), Limit: walkStep}))
				granted += result.Granted
				if err != nil || !result.More {
					j.logGranted(stories[inc], granted, err)
					return
				}
			}
		})
	}
	walking.Wait()
}

func (j *failureDetector) proposeEach(commands []*fsm.Command) {
	var acting sync.WaitGroup
	slots := make(chan struct{}, walkers)
	for _, c := range commands {
		slots <- struct{}{}
		acting.Go(func() {
			defer func() { <-slots }()
			_, _ = j.proposeCommand(c) // the next tick finds those still due
		})
	}
	acting.Wait()
}

// forgetGone drops the rows of incarnations that ended more than an hour of running ago.
func (j *failureDetector) forgetGone() {
	before, ok := j.l.dates.hourAgo()
	if !ok {
		return
	}
	for range forgetSteps {
		view, err := j.l.node.tables.openView()
		if err != nil {
			return
		}
		due, err := view.GoneBefore(before)
		view.Close()
		if err != nil || !due {
			return
		}
		result, err := j.proposeCommand(fsm.NewCommand(nil, &fsm.Forget{BeforeMs: before, Limit: forgetStep}))
		if err != nil || !result.More {
			return
		}
	}
}

// proposeCommand waits for the outcome, until the lead is over. A full queue is waited out.
func (j *failureDetector) proposeCommand(c *fsm.Command) (fsm.Result, error) {
	for {
		began := time.Now()
		result, err := j.l.queue.proposeAndWait(j.l.ctx, c)
		j.l.node.config.Metrics.Proposed(c, result, time.Since(began), err)
		if !errors.Is(err, ErrBusy) || j.l.ctx.Err() != nil {
			return result, err
		}
		select {
		case <-j.l.ctx.Done():
		case <-time.After(actPause):
		}
	}
}
