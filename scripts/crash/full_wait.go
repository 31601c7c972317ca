//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/scripts/internal/disks"
)

// nodeInRole waits for a leader and returns it, or another node.
func (t *crashRun) nodeInRole(ctx context.Context, leads bool) (n *nodeProcess, err error) {
	err = t.waitUntil(ctx, true, "a leader", func() bool {
		n, _ = t.cluster.findLeader(ctx)
		return n != nil
	})
	if err != nil || leads {
		return n, err
	}
	for _, other := range t.pickNodes(nodes) {
		if other != n {
			return other, nil
		}
	}
	return nil, errors.New("all lead")
}

// fillWhileSaving leaves a number of bytes free on a disk. Saves may be refused until the round ends.
func (t *crashRun) fillWhileSaving(d *disks.Disk, leave uint64) error {
	t.writers.scarce.Store(true)
	t.result.Filled++
	return d.Fill(leave)
}

// waitForSpace waits until no node has an alarm for want of space, and neither has the leader.
func (t *crashRun) waitForSpace(ctx context.Context) error {
	return t.waitUntil(ctx, false, "all to have space", func() bool {
		for _, n := range t.cluster.nodes {
			s, err := n.askStatus(ctx)
			if err != nil || slices.ContainsFunc(s.GetAlarms(), func(a *profilev1.Alarm) bool {
				return a.GetCode() == codeDiskLow || a.GetCode() == codeSavesRefused
			}) {
				return false
			}
		}
		return true
	})
}

// waitForSaves waits until saves are acknowledged again.
func (t *crashRun) waitForSaves(ctx context.Context) error {
	want := t.writers.acked.Load() + 50
	return t.waitUntil(ctx, true, "saves to go on", func() bool { return t.writers.acked.Load() >= want })
}

// waitUntil waits for a condition. With saving, saves must be acknowledged all the time.
func (t *crashRun) waitUntil(ctx context.Context, saving bool, what string, done func() bool) error {
	count, last := t.writers.acked.Load(), time.Now()
	for deadline := time.Now().Add(fullWait); ; time.Sleep(time.Millisecond) {
		ok := done()
		if now := t.writers.acked.Load(); now > count {
			count, last = now, time.Now()
		}
		if stood := time.Since(last); saving {
			t.result.StoodMS = max(t.result.StoodMS, stood.Milliseconds())
			if stood > standLimit {
				return fmt.Errorf("waits for %s: no save was acknowledged for %v", what, stood)
			}
		}
		if ok {
			return nil
		}
		if err := t.checkFailures(ctx); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", fullWait, what)
		}
	}
}
