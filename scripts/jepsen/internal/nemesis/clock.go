package nemesis

import (
	"context"
	"errors"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/clocks"
)

const skewed = "clocks changed"

func clockFaults() []Nemesis {
	needs := Needs{Clocks: true}
	return []Nemesis{
		{"clock-leader-ahead", "put the leader's wall clock an hour ahead, and back", skewed, needs, quickBound, jumpClocks(theLeader, time.Hour)},
		{"clock-leader-behind", "put the leader's wall clock ten minutes back, and forth again", skewed, needs, quickBound, jumpClocks(theLeader, -10*time.Minute)},
		{"clock-strobe", "move the leader's wall clock to and fro by a minute, ten times a second", skewed, needs, quickBound, strobeClock},
		{"clock-drift", "let a node's clocks run half as fast again", skewed, needs, quickBound, driftClock},
		{"clock-all-apart", "keep the nodes' wall clocks an hour apart", skewed, needs, quickBound, spreadClocks},
		{"clock-game-server", "put a game server's wall clock an hour ahead, and back", skewed, needs, quickBound, jumpGameServerClock},
	}
}

// withClock changes the clocks of a process while f runs.
func withClock(b *bed.Bed, pid int, f func(c *clocks.Clock) error) error {
	c, err := clocks.Attach(pid)
	if err != nil {
		return err
	}
	b.CountEffect(skewed, 1)
	return errors.Join(f(c), c.Detach())
}

func jumpClocks(pick picker, by time.Duration) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		var faults []error
		for _, n := range pick(ctx, b) {
			faults = append(faults, withClock(b, n.PID(), func(c *clocks.Clock) error {
				err := c.SetWall(by)
				measure.Sleep(ctx, length)
				return err
			}))
		}
		return errors.Join(faults...)
	}
}

func strobeClock(ctx context.Context, b *bed.Bed, length time.Duration) error {
	return withClock(b, pickLeader(ctx, b).PID(), func(c *clocks.Clock) error {
		by := time.Minute
		for until := time.Now().Add(length); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, 100*time.Millisecond) {
			if err := c.SetWall(by); err != nil {
				return err
			}
			by = -by
		}
		return nil
	})
}

func driftClock(ctx context.Context, b *bed.Bed, length time.Duration) error {
	const step = 50 * time.Millisecond
	return withClock(b, pickNode(b).PID(), func(c *clocks.Clock) error {
		for until := time.Now().Add(length); time.Now().Before(until) && ctx.Err() == nil; measure.Sleep(ctx, step) {
			if err := c.Drift(0.5, step); err != nil {
				return err
			}
		}
		return nil
	})
}

func spreadClocks(ctx context.Context, b *bed.Bed, length time.Duration) error {
	var all []*clocks.Clock
	var faults []error
	for i, n := range b.Nodes {
		c, err := clocks.Attach(n.PID())
		if err != nil {
			faults = append(faults, err)
			continue
		}
		b.CountEffect(skewed, 1)
		all = append(all, c)
		faults = append(faults, c.SetWall(time.Duration(i)*time.Hour))
	}
	measure.Sleep(ctx, length)
	for _, c := range all {
		faults = append(faults, c.Detach())
	}
	return errors.Join(faults...)
}

func jumpGameServerClock(ctx context.Context, b *bed.Bed, length time.Duration) error {
	return withClock(b, pickGameServer(b).PID(), func(c *clocks.Clock) error {
		err := c.SetWall(time.Hour)
		measure.Sleep(ctx, length)
		return err
	})
}
