package nemesis

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

func gameServerFaults() []Nemesis {
	return []Nemesis{
		{"kill-game-server", "kill a game server, and start another one in its place", "game servers killed", Needs{}, restBound, killGameServer},
		{"stop-game-server", "stop a game server's process for longer than its lease, and let it go on writing", "game servers stopped", Needs{}, restBound, stopGameServer(leaseAndMore)},
		{"stop-game-server-briefly", "stop a game server's process for less than its lease", "game servers stopped", Needs{}, quickBound, stopGameServer(0)},
	}
}

// leaseAndMore is longer than the default lease of ten seconds.
const leaseAndMore = 13 * time.Second

func pickGameServer(b *bed.Bed) *bed.GameServer {
	return b.GameServers[b.Random.IntN(len(b.GameServers))]
}

func killGameServer(ctx context.Context, b *bed.Bed, length time.Duration) error {
	g := pickGameServer(b)
	g.Kill()
	b.CountEffect("game servers killed", 1)
	measure.Sleep(ctx, length)
	return g.Start()
}

func stopGameServer(least time.Duration) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		g := pickGameServer(b)
		if err := g.Pause(); err != nil {
			return err
		}
		b.CountEffect("game servers stopped", 1)
		measure.Sleep(ctx, max(length, least))
		return g.Continue()
	}
}
