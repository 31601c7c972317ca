//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	leaveShort = 512 << 20        // bytes that leave a node below its reserve of 1 GiB, and above the hard one of 128 MiB
	fullWait   = 30 * time.Second // for what must come of a full disk
	standLimit = 10 * time.Second // for which saves may stand still while one disk of three is full
)

func fills() []act {
	return []act{
		{"disk of a follower short", 1, (*trial).shortFollower},
		{"disk of the leader short", 1, (*trial).shortLeader},
		{"disks of all short", 1, (*trial).shortAll},
		{"disk of a follower full", 2, (*trial).fullFollower},
		{"disk of the leader full", 2, (*trial).fullLeader},
		{"disk without a reserve full", 1, (*trial).fullUnguarded},
		{"disk of a log full", 2, (*trial).fullLog},
		{"disks of all full", 1, (*trial).fullAll},
	}
}

func (t *trial) shortFollower(ctx context.Context) error { return t.short(ctx, false) }
func (t *trial) shortLeader(ctx context.Context) error   { return t.short(ctx, true) }
func (t *trial) fullFollower(ctx context.Context) error  { return t.full(ctx, false) }
func (t *trial) fullLeader(ctx context.Context) error    { return t.full(ctx, true) }

// fullUnguarded lets a node write until the disk itself refuses: nobody keeps a reserve.
func (t *trial) fullUnguarded(ctx context.Context) error {
	guard := func(guarded bool) error {
		for _, n := range t.cluster.nodes {
			n.unguarded = !guarded
		}
		if err := t.restart(t.some(nodes), time.Second); err != nil {
			return err
		}
		return t.cluster.waitCaughtUp(ctx, t.settings.caughtUp)
	}
	if err := guard(false); err != nil {
		return err
	}
	before := t.verdict.Ends[endHard]
	if err := t.full(ctx, t.random.IntN(2) == 0); err != nil {
		return err
	}
	if t.verdict.Ends[endHard] > before {
		return errors.New("a node that keeps no reserve stopped at one")
	}
	return guard(true)
}

// fullLog fills a disk that holds a node's log alone, so that what is free where the node looks says nothing.
func (t *trial) fullLog(ctx context.Context) error {
	n, err := t.role(ctx, t.random.IntN(2) == 0)
	if err != nil {
		return err
	}
	if err := inTurn(
		func() error { return t.end([]*node{n}) }, n.partLog, func() error { return t.cluster.start(n) },
		func() error { return t.cluster.waitCaughtUp(ctx, t.settings.caughtUp) },
	); err != nil {
		return err
	}
	before := t.verdict.Ends[endLog]
	if err := t.fillUp(ctx, n, n.logDisk); err != nil {
		return err
	}
	if t.verdict.Ends[endLog] == before {
		return errors.New("a node whose log was full did not stop at it")
	}
	return inTurn(n.joinLog, func() error { return t.cluster.start(n) })
}

// short leaves one node less than its reserve. It goes on, but leads no more, and all is well once there is space.
func (t *trial) short(ctx context.Context, leads bool) error {
	n, err := t.role(ctx, leads)
	if err != nil {
		return err
	}
	from := n.logBytes()
	if err := t.fill(n.disk, leaveShort); err != nil {
		return err
	}
	if err := t.until(ctx, true, n.name+" to raise an alarm", func() bool { return n.alarmed(ctx, codeShort) }); err != nil {
		return err
	}
	if err := t.until(ctx, true, "another to lead than "+n.name, func() bool {
		l, _ := t.cluster.leader(ctx)
		return l != nil && l != n
	}); err != nil {
		return err
	}
	if err := t.goOn(ctx); err != nil {
		return err
	}
	if err := n.disk.free(); err != nil {
		return err
	}
	return errors.Join(t.spacious(ctx), n.saidOnce(from, wordsShort))
}

// shortAll leaves all less than their reserve: saves are refused, nothing else is, and nobody stops.
func (t *trial) shortAll(ctx context.Context) error {
	for _, n := range t.cluster.nodes {
		if err := t.fill(n.disk, leaveShort); err != nil {
			return err
		}
	}
	if err := t.until(ctx, false, "every writer to be refused", t.writers.allRefused); err != nil {
		return err
	}
	before := t.writers.acknowledged()
	if err := t.writers.verify(ctx); err != nil {
		return fmt.Errorf("while saves are refused: %w", err)
	}
	if after := t.writers.acknowledged(); after != before {
		return fmt.Errorf("%d saves were acknowledged while all disks were short of space", after-before)
	}
	if l, _ := t.cluster.leader(ctx); l == nil || !l.alarmed(ctx, codeRefused) {
		return errors.New("saves are refused, and no alarm of the leader says so")
	}
	for _, n := range t.cluster.nodes {
		if err := n.disk.free(); err != nil {
			return err
		}
	}
	return errors.Join(t.spacious(ctx), t.goOn(ctx))
}

// full takes everything that one node's disk has.
func (t *trial) full(ctx context.Context, leads bool) error {
	n, err := t.role(ctx, leads)
	if err != nil {
		return err
	}
	if err := t.fillUp(ctx, n, n.disk); err != nil {
		return err
	}
	return t.cluster.start(n)
}

// fillUp takes everything that a disk of one node has, and gives it back once the node has stopped, alone, and did not start
// before there was space.
func (t *trial) fillUp(ctx context.Context, n *node, d *disk) error {
	from := n.logBytes()
	n.mayEnd = true
	defer func() { n.mayEnd = false }()
	if err := t.fill(d, 0); err != nil {
		return err
	}
	t.writers.large.Store(true)
	var err error
	if late := t.until(ctx, true, n.name+" to stop", func() bool {
		err = d.fill(0) // it deletes files, too
		return err != nil || n.hasEnded()
	}); late != nil || err != nil {
		return errors.Join(late, err)
	}
	t.writers.large.Store(false)
	return inTurn(
		func() error { return t.lastWords(n, from) }, func() error { return t.goOn(ctx) }, func() error { return t.startsNot(ctx, n) }, d.free,
	)
}

// inTurn ends at the first error.
func inTurn(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// fullAll takes everything from all: all stop, and have everything once there is space.
func (t *trial) fullAll(ctx context.Context) error {
	var from [nodes]int64
	for i, n := range t.cluster.nodes {
		from[i], n.mayEnd = n.logBytes(), true
		defer func() { n.mayEnd = false }()
	}
	for _, n := range t.cluster.nodes {
		if err := t.fill(n.disk, 0); err != nil {
			return err
		}
	}
	if err := t.until(ctx, false, "all to stop", func() bool {
		return !slices.ContainsFunc(t.cluster.nodes[:], func(n *node) bool { return !n.hasEnded() })
	}); err != nil {
		return err
	}
	for i, n := range t.cluster.nodes {
		if err := errors.Join(t.lastWords(n, from[i]), t.startsNot(ctx, n)); err != nil {
			return err
		}
	}
	for _, n := range t.cluster.nodes {
		n.mayEnd = false
		if err := inTurn(n.disk.free, func() error { return t.cluster.start(n) }); err != nil {
			return err
		}
	}
	return nil
}

// startsNot starts a node on its full disk: it ends at once, and says why.
func (t *trial) startsNot(ctx context.Context, n *node) error {
	if err := n.kill(); err != nil {
		return err
	}
	from := n.logBytes()
	if err := t.cluster.start(n); err != nil {
		return err
	}
	if err := t.until(ctx, false, n.name+" to refuse to start on a full disk", n.hasEnded); err != nil {
		return err
	}
	if _, err := n.clear(from); err != nil {
		return fmt.Errorf("started on a full disk: %w", err)
	}
	return n.kill()
}
