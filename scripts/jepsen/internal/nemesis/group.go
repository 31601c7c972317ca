package nemesis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/groups"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

func groupFaults() []Nemesis {
	needs := Needs{Groups: true}
	return []Nemesis{
		{"starve-leader", "give the leader a tenth of a processor", "nodes starved", needs, restBound, inGroup(theLeader, "nodes starved", starve(0.1))},
		{"starve-all", "give all nodes together a third of a processor", "nodes starved", needs, restBound, inGroup(allNodes, "nodes starved", starve(0.33))},
		{"freeze-leader", "freeze the leader, which unlike a stopped process cannot notice it", "nodes frozen", needs, quickBound, inGroup(theLeader, "nodes frozen", freeze)},
		{"freeze-majority", "freeze a majority", "nodes frozen", needs, restBound, inGroup(aMajority, "nodes frozen", freeze)},
	}
}

// inGroup puts nodes into a control group while act holds a fault.
func inGroup(pick picker, effect string, act func(context.Context, *groups.Group, time.Duration) error) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		g := groups.New(fmt.Sprintf("profilenode-jepsen-%d-%d", os.Getpid(), b.Random.Uint32()))
		var faults []error
		for _, n := range pick(ctx, b) {
			faults = append(faults, g.Add(n.PID()))
			b.CountEffect(effect, 1)
		}
		return errors.Join(append(faults, act(ctx, g, length), g.Close())...)
	}
}

// starve bounds the processor time of the group.
func starve(share float64) func(context.Context, *groups.Group, time.Duration) error {
	return func(ctx context.Context, g *groups.Group, length time.Duration) error {
		err := g.LimitCPU(share)
		measure.Sleep(ctx, length)
		return err
	}
}

func freeze(ctx context.Context, g *groups.Group, length time.Duration) error {
	err := g.Freeze()
	measure.Sleep(ctx, length)
	return errors.Join(err, g.Thaw())
}
