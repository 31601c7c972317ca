package nemesis

import (
	"context"
	"errors"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

const stopped = "nodes stopped"

func stops() []Nemesis {
	return []Nemesis{
		{"stop-follower", "stop a follower's process and let it go on", stopped, Needs{}, quickBound, stopNodes(aFollower)},
		{"stop-leader", "stop the leader's process and let it go on, when another one leads", stopped, Needs{}, quickBound, stopNodes(theLeader)},
		{"stop-majority", "stop a majority's processes and let them go on", stopped, Needs{}, restBound, stopNodes(aMajority)},
		{"stop-kill-rotation", "stop one node, kill a second, let the first go on and stop the third, start the second: the majority is the one that slept and the one that crashed", "rotations", Needs{}, restBound, rotate(killNode)},
		{"stop-leader-blinks", "stop the leader's process for moments, again and again", stopped, Needs{}, quickBound, blinkLeader},
	}
}

func stopNodes(pick picker) func(context.Context, *bed.Bed, time.Duration) error {
	return onNodes(stopped, pick, (*bed.Node).Pause, (*bed.Node).Continue)
}

// rotate leaves, for a while, a majority of a node that knows nothing of the last moments and a node that has lost what it had not on
// disk.
func rotate(takeDown func(*bed.Bed, *bed.Node) error) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		order := b.Random.Perm(len(b.Nodes))
		one, two, three := b.Nodes[order[0]], b.Nodes[order[1]], b.Nodes[order[2]]
		part := length / 3
		if err := one.Pause(); err != nil {
			return err
		}
		measure.Sleep(ctx, part)
		faults := []error{takeDown(b, two), one.Continue(), three.Pause()}
		b.CountEffect("rotations", 1)
		measure.Sleep(ctx, part/4)
		faults = append(faults, two.StartProcess())
		measure.Sleep(ctx, part)
		faults = append(faults, three.Continue())
		return errors.Join(faults...)
	}
}

func killNode(_ *bed.Bed, n *bed.Node) error { return n.Kill() }

func blinkLeader(ctx context.Context, b *bed.Bed, length time.Duration) error {
	for until := time.Now().Add(length); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, 200*time.Millisecond) {
		leader := pickLeader(ctx, b)
		if err := leader.Pause(); err != nil {
			return err
		}
		b.CountEffect(stopped, 1)
		measure.Sleep(ctx, 150*time.Millisecond+time.Duration(b.Random.IntN(700))*time.Millisecond)
		if err := leader.Continue(); err != nil {
			return err
		}
	}
	return nil
}
