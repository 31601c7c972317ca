package cuts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/bench/testbed"
	"github.com/profilenode/profilenode/internal/network"
)

// trial is one cut, and its result.
type trial struct {
	Kind      string          `json:"kind"`
	Length    time.Duration   `json:"length_ns"`
	Recovered []time.Duration `json:"recovered_ns"` // of each game server: from the heal to its first acknowledged save
	Lost      int             `json:"sessions_lost"`
	Dropped   uint64          `json:"packets_dropped"`
	Fault     string          `json:"fault,omitempty"` // it was not finished

	kind kind
}

// lane is a bed on which one cut is tried after the other.
type lane struct {
	*testbed.Bed
	lost int // sessions, by the last count
}

// runLane runs trials on one bed, until there are none.
func runLane(ctx context.Context, r *testbed.Run, folder string, next <-chan *trial) error {
	l, err := newLane(ctx, r, folder)
	if err != nil {
		return err
	}
	defer func() { l.close() }()
	for t := range next {
		if err := l.runTrial(ctx, t); err != nil {
			t.Fault = err.Error()
		}
		fmt.Fprintln(r.Notes, t)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if t.Fault != "" { // the next one would measure the remains of this one
			l.close()
			folder += "+"
			if l, err = newLane(ctx, r, folder); err != nil {
				return err
			}
		}
	}
	return nil
}

// newLane makes a bed of which all sessions are saved again and again.
func newLane(ctx context.Context, r *testbed.Run, folder string) (*lane, error) {
	s, err := network.OpenSwitch(serverHost)
	if err != nil {
		return nil, err
	}
	layout := testbed.Layout{Sessions: sessionCount, Switch: s}
	for i := range layout.NodeHosts {
		layout.NodeHosts[i] = firstNodeHost + i
	}
	for i := range layout.ServerHosts {
		layout.ServerHosts[i] = serverHost
	}
	b, err := testbed.NewBed(ctx, r.Program, folder, layout)
	if err != nil {
		s.Close()
		return nil, err
	}
	l := &lane{Bed: b}
	_, err = b.DoOnAll(ctx, func(server int) testbed.Order {
		return testbed.Order{Do: testbed.KeepSaving, Keys: b.KeysOf(server), Every: saveEvery}
	})
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lane) close() {
	if l == nil {
		return
	}
	l.Bed.Close()
	l.Switch.Close()
}

// runTrial cuts and heals once.
func (l *lane) runTrial(ctx context.Context, t *trial) error {
	leader, err := l.Cluster.FindLeader(ctx)
	if err != nil {
		return err
	}
	if _, err := l.waitForSaves(ctx, measure.Now(), slices.Max); err != nil {
		return fmt.Errorf("before the cut: %w", err)
	}
	dropped := l.Switch.Dropped()
	l.Switch.Drop(t.kind.filter(firstNodeHost + slices.Index(l.Cluster.Nodes, leader)))
	measure.Sleep(ctx, t.Length)
	l.Switch.Drop(nil)
	healed := measure.Now()
	t.Dropped = l.Switch.Dropped() - dropped
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if t.Recovered, err = l.waitForSaves(ctx, healed, slices.Min); err != nil {
		return fmt.Errorf("after the heal: %w", err)
	}
	// All sessions of each, not only the first, go on; those that were lost say so here.
	if _, err := l.waitForSaves(ctx, measure.Now(), slices.Max); err != nil {
		return fmt.Errorf("some time after the heal: %w", err)
	}
	answers, err := l.DoOnAll(ctx, func(int) testbed.Order { return testbed.Order{Do: testbed.ReportSessions} })
	if err != nil {
		return err
	}
	before := l.lost
	l.lost = 0
	for _, all := range answers {
		l.lost += all[0].Sessions.Lost
	}
	t.Lost = l.lost - before
	return nil
}

// waitForSaves waits until all sessions have saved after a moment. It returns for each game server how long that took: the
// one of its sessions that choose takes.
func (l *lane) waitForSaves(ctx context.Context, after measure.Moment, choose func([]time.Duration) time.Duration) (passed []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveLimit)
	defer cancel()
	answers, err := l.DoOnAll(ctx, func(server int) testbed.Order {
		keys := l.KeysOf(server)
		return testbed.Order{Do: testbed.WaitForSave, Keys: keys, After: testbed.AllAt(keys, after)}
	})
	if err != nil {
		return nil, err
	}
	for _, all := range answers {
		var took []time.Duration
		for _, a := range all {
			took = append(took, a.Ended.Since(after))
		}
		passed = append(passed, choose(took))
	}
	return passed, nil
}
