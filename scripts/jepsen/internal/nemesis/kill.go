package nemesis

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

const killed = "nodes killed"

// picker picks the nodes that a fault is for.
type picker func(ctx context.Context, b *bed.Bed) []*bed.Node

func aFollower(ctx context.Context, b *bed.Bed) []*bed.Node { return []*bed.Node{pickFollower(ctx, b)} }
func theLeader(ctx context.Context, b *bed.Bed) []*bed.Node { return []*bed.Node{pickLeader(ctx, b)} }
func aMajority(_ context.Context, b *bed.Bed) []*bed.Node   { return pickMajority(b) }
func allNodes(_ context.Context, b *bed.Bed) []*bed.Node    { return b.Nodes }

func kills() []Nemesis {
	return []Nemesis{
		{"kill-follower", "kill a follower and start it again", killed, Needs{}, quickBound, killNodes(aFollower)},
		{"kill-leader", "kill the leader and start it again", killed, Needs{}, restBound, killNodes(theLeader)},
		{"kill-majority", "kill a majority and start it again", killed, Needs{}, restBound, killNodes(aMajority)},
		{"kill-all", "kill all nodes and start them again", killed, Needs{}, restBound, killNodes(allNodes)},
		{"kill-each-leader", "kill one leader after the other, as soon as it leads", killed, Needs{}, restBound, killEachLeader},
		{"kill-in-snapshot", "kill a node while it makes a snapshot", "nodes killed in a snapshot", Needs{}, restBound, killInSnapshot},
		{"restart-rolling", "stop each node in order and start it again, one after the other", "nodes restarted in order", Needs{}, restBound, restartRolling},
	}
}

// onNodes does something to some nodes at once, holds, and undoes it.
func onNodes(effect string, pick picker, do, undo func(*bed.Node) error) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		var faults []error
		nodes := pick(ctx, b)
		for _, n := range nodes {
			faults = append(faults, do(n))
			b.CountEffect(effect, 1)
		}
		measure.Sleep(ctx, length)
		for _, n := range nodes {
			faults = append(faults, undo(n))
		}
		return errors.Join(faults...)
	}
}

func killNodes(pick picker) func(context.Context, *bed.Bed, time.Duration) error {
	return onNodes(killed, pick, func(n *bed.Node) error { return n.Kill() }, func(n *bed.Node) error { return n.StartProcess() })
}

func killEachLeader(ctx context.Context, b *bed.Bed, length time.Duration) error {
	for until := time.Now().Add(length); time.Now().Before(until) && ctx.Err() == nil; {
		leader, err := b.WaitForLeader(ctx, restBound)
		if err != nil {
			return err
		}
		b.CountEffect(killed, 1)
		if err := leader.Restart(); err != nil {
			return err
		}
	}
	return nil
}

// killInSnapshot kills nodes that begin a snapshot, in the moment in which they say so: one, or several that begin together.
func killInSnapshot(ctx context.Context, b *bed.Bed, length time.Duration) error {
	for _, n := range b.Nodes {
		n.AllowEnd(true)
		n.KillAt("SNAPSHOT_BEGINS")
	}
	for until := time.Now().Add(3*length + restBound); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, 20*time.Millisecond) {
		if slices.ContainsFunc(b.Nodes, (*bed.Node).HasEnded) {
			break
		}
	}
	var faults []error
	for _, n := range b.Nodes {
		if n.KillAt("") {
			b.CountEffect("nodes killed in a snapshot", 1)
			faults = append(faults, n.Restart())
		}
		n.AllowEnd(false)
	}
	return errors.Join(faults...)
}

func restartRolling(ctx context.Context, b *bed.Bed, _ time.Duration) error {
	for _, n := range b.Nodes {
		if err := n.Stop(restBound); err != nil {
			return err
		}
		b.CountEffect("nodes restarted in order", 1)
		if err := n.StartProcess(); err != nil {
			return err
		}
		if err := b.WaitUntilWell(ctx, netBound); err != nil {
			return err
		}
	}
	return nil
}
