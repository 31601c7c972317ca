package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/internal/disks"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

const (
	powerLost = "power losses"
	// hangs is longer than the ten seconds in which another node leads.
	hangs = 15 * time.Second
)

func diskFaults() []Nemesis {
	needs := Needs{Disks: true}
	return []Nemesis{
		{"power-follower", "cut a follower's power: what was not synced is lost", powerLost, needs, quickBound, cutPower(aFollower)},
		{"power-leader", "cut the leader's power", powerLost, needs, restBound, cutPower(theLeader)},
		{"power-majority", "cut the power of a majority", powerLost, needs, restBound, cutPower(aMajority)},
		{"power-all", "cut the power of all nodes", powerLost, needs, restBound, cutPower(allNodes)},
		{"power-rotation", "as stop-kill-rotation, but the second node loses its power", powerLost, needs, restBound, rotate(loseNodePower)},
		{"disk-hangs-leader", "let the leader's disk hang for 15 s; another node must lead then", "disks that hung", needs, restBound, hangLeader},
		{"disk-hangs-follower", "let a follower's disk hang for 15 s", "disks that hung", needs, restBound, atLeast(hangs, hangDisks(aFollower))},
		{"disk-slow-leader", "let the leader's disk write 40 times a second", "disks that were slow", needs, quickBound, slowDisks(theLeader, 40)},
		{"disk-slow-all", "let all disks write 60 times a second", "disks that were slow", needs, quickBound, slowDisks(allNodes, 60)},
		{"disk-full-leader", "fill the leader's disk to the last byte", "disks that were full", needs, restBound, fillDisks(theLeader, 0)},
		{"disk-full-follower", "fill a follower's disk to the last byte", "disks that were full", needs, restBound, fillDisks(aFollower, 0)},
		{"disk-short-all", "leave 512 MiB on every disk, which is below the reserve", "disks that were full", needs, restBound, fillDisks(allNodes, 512<<20)},
		{"disk-no-inodes", "leave no inode on a follower's disk", "disks without inodes", needs, restBound, fillInodes},
		{"disk-read-only", "let every write to a follower's disk fail", "disks that failed", needs, restBound, failWrites},
	}
}

// loseNodePower cuts a node's power and leaves it down, with what it had synced.
func loseNodePower(b *bed.Bed, n *bed.Node) error {
	if err := n.Pause(); err != nil {
		return err
	}
	b.CountEffect(powerLost, 1)
	return errors.Join(n.Disk.CutPower(), n.Kill(), n.Disk.Restore())
}

func cutPower(pick picker) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		nodes := pick(ctx, b)
		var faults []error
		for _, n := range nodes { // all of them stand still before the first loses anything
			faults = append(faults, n.Pause())
		}
		for _, n := range nodes {
			b.CountEffect(powerLost, 1)
			faults = append(faults, n.Disk.CutPower(), n.Kill(), n.Disk.Restore())
		}
		measure.Sleep(ctx, length)
		for _, n := range nodes {
			faults = append(faults, n.StartProcess())
		}
		return errors.Join(faults...)
	}
}

// onDisks does something to the disks of some nodes, holds, and undoes it. The nodes may end by themselves, and are started again.
func onDisks(effect string, pick picker, do, undo func(*disks.Disk) error) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		nodes := pick(ctx, b)
		these := func(context.Context, *bed.Bed) []*bed.Node { return nodes }
		for _, n := range nodes {
			n.AllowEnd(true)
		}
		faults := []error{onNodes(effect, these, func(n *bed.Node) error { return do(n.Disk) }, func(n *bed.Node) error { return undo(n.Disk) })(ctx, b, length)}
		for _, n := range nodes {
			faults = append(faults, restartIfEnded(ctx, n))
		}
		return errors.Join(faults...)
	}
}

// restartIfEnded starts a node again that has ended by itself, or does so within the time in which one says why it stops.
func restartIfEnded(ctx context.Context, n *bed.Node) error {
	const toSayWhy = 40 * time.Second
	defer n.AllowEnd(false)
	for until := time.Now().Add(toSayWhy); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, 100*time.Millisecond) {
		if n.HasEnded() {
			return n.Restart()
		}
		if s, err := n.Status(ctx); err == nil && (s.GetState() == "leader" || s.GetState() == "follower") {
			return nil
		}
	}
	return n.Restart()
}

// hangLeader lets the leader's disk hang until another node must lead: ten seconds are promised (docs/operate.md).
func hangLeader(ctx context.Context, b *bed.Bed, length time.Duration) error {
	leader := pickLeader(ctx, b)
	these := func(context.Context, *bed.Bed) []*bed.Node { return []*bed.Node{leader} }
	var stays error
	thaw := func(d *disks.Disk) error {
		if next := b.FindLeader(ctx); next == nil || next == leader {
			stays = fmt.Errorf("I13: no other node than %s leads %v after its disk began to hang", leader.Name, max(length, hangs))
		}
		return d.Thaw()
	}
	err := onDisks("disks that hung", these, (*disks.Disk).Freeze, thaw)(ctx, b, max(length, hangs))
	return errors.Join(stays, err)
}

func hangDisks(pick picker) func(context.Context, *bed.Bed, time.Duration) error {
	return onDisks("disks that hung", pick, (*disks.Disk).Freeze, (*disks.Disk).Thaw)
}

// slowDisks bounds the writes a second of each disk.
func slowDisks(pick picker, writes int) func(context.Context, *bed.Bed, time.Duration) error {
	return onDisks("disks that were slow", pick, func(d *disks.Disk) error { return d.Slow(writes, 0) }, (*disks.Disk).Fast)
}

func fillDisks(pick picker, leave uint64) func(context.Context, *bed.Bed, time.Duration) error {
	fill := func(d *disks.Disk) error { return d.Fill(leave) }
	return onDisks("disks that were full", pick, fill, (*disks.Disk).Free)
}

func fillInodes(ctx context.Context, b *bed.Bed, length time.Duration) error {
	fill := func(d *disks.Disk) error { return d.FillInodes(0) }
	return onDisks("disks without inodes", aFollower, fill, (*disks.Disk).FreeInodes)(ctx, b, length)
}

// failWrites makes a disk read-only, by an error of its file system. The node is killed before the disk is mounted anew.
func failWrites(ctx context.Context, b *bed.Bed, length time.Duration) error {
	n := pickFollower(ctx, b)
	n.AllowEnd(true)
	defer n.AllowEnd(false)
	err := n.Disk.ReadOnly()
	b.CountEffect("disks that failed", 1)
	measure.Sleep(ctx, length)
	return errors.Join(err, n.Kill(), n.Disk.Restore(), n.StartProcess())
}
