//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/profilenode/profilenode/scripts/internal/disks"
)

const (
	leaveShort = 512 << 20        // bytes that leave a node below its reserve of 1 GiB, and above the hard one of 128 MiB
	fullWait   = 30 * time.Second // for each consequence of a full disk
	standLimit = 10 * time.Second // for which saves may stand still while one disk of three is full
)

func diskActs() []crashAct {
	return []crashAct{
		{"disk of a follower short", 1, func(t *crashRun, ctx context.Context) error { return t.shortDisk(ctx, false) }},
		{"disk of the leader short", 1, func(t *crashRun, ctx context.Context) error { return t.shortDisk(ctx, true) }},
		{"disks of all short", 1, (*crashRun).shortDisks},
		{"disk of a follower full", 2, func(t *crashRun, ctx context.Context) error { return t.fullDisk(ctx, false) }},
		{"disk of the leader full", 2, func(t *crashRun, ctx context.Context) error { return t.fullDisk(ctx, true) }},
		{"disk without a reserve full", 1, (*crashRun).fullDiskWithoutReserve},
		{"disk of a log full", 2, (*crashRun).fullLogDisk},
		{"disks of all full", 1, (*crashRun).fullDisks},
	}
}

// fullDiskWithoutReserve lets a node write until the disk itself refuses: no node keeps a reserve.
func (t *crashRun) fullDiskWithoutReserve(ctx context.Context) error {
	guard := func(guarded bool) error {
		for _, n := range t.cluster.nodes {
			n.unguarded = !guarded
		}
		if err := t.killAndRestart(t.pickNodes(nodes), time.Second); err != nil {
			return err
		}
		return t.cluster.waitCaughtUp(ctx, t.settings.caughtUp)
	}
	if err := guard(false); err != nil {
		return err
	}
	before := t.result.Ends[endHard]
	if err := t.fullDisk(ctx, t.random.IntN(2) == 0); err != nil {
		return err
	}
	if t.result.Ends[endHard] > before {
		return errors.New("a node that keeps no reserve stopped at one")
	}
	return guard(true)
}

// fullLogDisk fills a disk that holds a node's log alone, so that the free space that the node measures says nothing of it.
func (t *crashRun) fullLogDisk(ctx context.Context) error {
	n, err := t.nodeInRole(ctx, t.random.IntN(2) == 0)
	if err != nil {
		return err
	}
	if err := runInTurn(
		func() error { return t.killNodes([]*nodeProcess{n}) }, n.mountLogDisk, n.startProcess,
		func() error { return t.cluster.waitCaughtUp(ctx, t.settings.caughtUp) },
	); err != nil {
		return err
	}
	before := t.result.Ends[endLog]
	if err := t.fillUp(ctx, n, n.logDisk); err != nil {
		return err
	}
	if t.result.Ends[endLog] == before {
		return errors.New("a node whose log was full did not stop at it")
	}
	return runInTurn(n.unmountLogDisk, n.startProcess)
}

// shortDisk leaves one node less than its reserve. It goes on, but gives up the lead, and recovers once there is space.
func (t *crashRun) shortDisk(ctx context.Context, leads bool) error {
	n, err := t.nodeInRole(ctx, leads)
	if err != nil {
		return err
	}
	from := n.logBytes()
	if err := t.fillWhileSaving(n.disk, leaveShort); err != nil {
		return err
	}
	if err := t.waitUntil(ctx, true, n.name+" to raise an alarm", func() bool { return n.hasAlarm(ctx, codeDiskLow) }); err != nil {
		return err
	}
	if err := t.waitUntil(ctx, true, "another to lead than "+n.name, func() bool {
		l, _ := t.cluster.findLeader(ctx)
		return l != nil && l != n
	}); err != nil {
		return err
	}
	if err := t.waitForSaves(ctx); err != nil {
		return err
	}
	if err := n.disk.Free(); err != nil {
		return err
	}
	return errors.Join(t.waitForSpace(ctx), n.checkAlarmLoggedOnce(from, codeDiskLow))
}

// shortDisks leaves every node less than its reserve: saves are refused, nothing else is, and no node stops.
func (t *crashRun) shortDisks(ctx context.Context) error {
	for _, n := range t.cluster.nodes {
		if err := t.fillWhileSaving(n.disk, leaveShort); err != nil {
			return err
		}
	}
	if err := t.waitUntil(ctx, false, "every writer to be refused", t.writers.areAllRefused); err != nil {
		return err
	}
	before := t.writers.acked.Load()
	if err := t.writers.verifyAll(ctx); err != nil {
		return fmt.Errorf("while saves are refused: %w", err)
	}
	if after := t.writers.acked.Load(); after != before {
		return fmt.Errorf("%d saves were acknowledged while all disks were short of space", after-before)
	}
	if l, _ := t.cluster.findLeader(ctx); l == nil || !l.hasAlarm(ctx, codeSavesRefused) {
		return errors.New("saves are refused, and no alarm of the leader says so")
	}
	for _, n := range t.cluster.nodes {
		if err := n.disk.Free(); err != nil {
			return err
		}
	}
	return errors.Join(t.waitForSpace(ctx), t.waitForSaves(ctx))
}

// fullDisk takes all the free space of one node's disk.
func (t *crashRun) fullDisk(ctx context.Context, leads bool) error {
	n, err := t.nodeInRole(ctx, leads)
	if err != nil {
		return err
	}
	if err := t.fillUp(ctx, n, n.disk); err != nil {
		return err
	}
	return n.startProcess()
}

// fillUp takes everything that a disk of one node has, and gives it back once the node has stopped, alone, and did not start
// before there was space.
func (t *crashRun) fillUp(ctx context.Context, n *nodeProcess, d *disks.Disk) error {
	from := n.logBytes()
	n.mayEnd = true
	defer func() { n.mayEnd = false }()
	if err := t.fillWhileSaving(d, 0); err != nil {
		return err
	}
	t.writers.large.Store(true)
	var err error
	if late := t.waitUntil(ctx, true, n.name+" to stop", func() bool {
		err = d.Fill(0) // it deletes files, too
		return err != nil || n.HasEnded()
	}); late != nil || err != nil {
		return errors.Join(late, err)
	}
	t.writers.large.Store(false)
	return runInTurn(
		func() error { return t.noteFullExit(n, from) }, func() error { return t.waitForSaves(ctx) }, func() error { return t.checkDoesNotStart(ctx, n) }, d.Free,
	)
}

// runInTurn ends at the first error.
func runInTurn(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// fullDisks takes all the free space of every disk: all nodes stop, and have lost nothing once there is space.
func (t *crashRun) fullDisks(ctx context.Context) error {
	var from [nodes]int64
	for i, n := range t.cluster.nodes {
		from[i], n.mayEnd = n.logBytes(), true
		defer func() { n.mayEnd = false }()
	}
	for _, n := range t.cluster.nodes {
		if err := t.fillWhileSaving(n.disk, 0); err != nil {
			return err
		}
	}
	if err := t.waitUntil(ctx, false, "all to stop", func() bool {
		return !slices.ContainsFunc(t.cluster.nodes[:], func(n *nodeProcess) bool { return !n.HasEnded() })
	}); err != nil {
		return err
	}
	for i, n := range t.cluster.nodes {
		if err := errors.Join(t.noteFullExit(n, from[i]), t.checkDoesNotStart(ctx, n)); err != nil {
			return err
		}
	}
	for _, n := range t.cluster.nodes {
		n.mayEnd = false
		if err := runInTurn(n.disk.Free, n.startProcess); err != nil {
			return err
		}
	}
	return nil
}

// checkDoesNotStart starts a node on its full disk: it must end at once.
func (t *crashRun) checkDoesNotStart(ctx context.Context, n *nodeProcess) error {
	if err := n.Kill(); err != nil {
		return err
	}
	from := n.logBytes()
	if err := n.startProcess(); err != nil {
		return err
	}
	if err := t.waitUntil(ctx, false, n.name+" to refuse to start on a full disk", n.HasEnded); err != nil {
		return err
	}
	if err := n.checkFullExit(from); err != nil {
		return fmt.Errorf("started on a full disk: %w", err)
	}
	return n.Kill()
}
