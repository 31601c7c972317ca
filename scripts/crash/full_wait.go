//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

// role is who leads, or somebody else.
func (t *trial) role(ctx context.Context, leads bool) (n *node, err error) {
	err = t.until(ctx, true, "somebody to lead", func() bool {
		n, _ = t.cluster.leader(ctx)
		return n != nil
	})
	if err != nil || leads {
		return n, err
	}
	for _, other := range t.some(nodes) {
		if other != n {
			return other, nil
		}
	}
	return nil, errors.New("all lead")
}

// fill leaves so many bytes of a disk. Saves may be refused until the round ends.
func (t *trial) fill(d *disk, leave uint64) error {
	t.writers.scarce.Store(true)
	t.verdict.Filled++
	return d.fill(leave)
}

// spacious returns once nobody is short of space any more, and the leader knows.
func (t *trial) spacious(ctx context.Context) error {
	return t.until(ctx, false, "all to have space", func() bool {
		for _, n := range t.cluster.nodes {
			s, err := n.status(ctx)
			if err != nil || slices.ContainsFunc(s.GetAlarms(), func(a *profilev1.Alarm) bool {
				return a.GetCode() == codeShort || a.GetCode() == codeRefused
			}) {
				return false
			}
		}
		return true
	})
}

// goOn wants saves to be acknowledged.
func (t *trial) goOn(ctx context.Context) error {
	want := t.writers.acknowledged() + 50
	return t.until(ctx, true, "saves to go on", func() bool { return t.writers.acknowledged() >= want })
}

// until waits. With saving, saves must be acknowledged all the while.
func (t *trial) until(ctx context.Context, saving bool, what string, done func() bool) error {
	count, last := t.writers.acknowledged(), time.Now()
	for deadline := time.Now().Add(fullWait); ; time.Sleep(time.Millisecond) {
		ok := done()
		if now := t.writers.acknowledged(); now > count {
			count, last = now, time.Now()
		}
		if stood := time.Since(last); saving {
			t.verdict.StoodMS = max(t.verdict.StoodMS, stood.Milliseconds())
			if stood > standLimit {
				return fmt.Errorf("waits for %s: no save was acknowledged for %v", what, stood)
			}
		}
		if ok {
			return nil
		}
		if err := t.failed(ctx); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", fullWait, what)
		}
	}
}
