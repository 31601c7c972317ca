package nemesis

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

func links() []Nemesis {
	slow := network.Link{Delay: 80 * time.Millisecond, Jitter: 60 * time.Millisecond}
	needs := Needs{Hosts: true}
	return []Nemesis{
		{"slow-all", "delay every packet by 20 to 140 ms", "packets delayed", needs, quickBound, spoil(everywhere, slow)},
		{"slow-leader", "delay what the leader sends and is sent by 20 to 140 ms", "packets delayed", needs, quickBound, spoil(atLeader, slow)},
		{"slow-follower", "delay what one follower sends and is sent by 20 to 140 ms", "packets delayed", needs, quickBound, spoil(atFollower, slow)},
		{"lossy", "lose one of seven packets", "packets lost", needs, netBound, spoil(everywhere, network.Link{Loss: 0.15})},
		{"doubled", "deliver one of four packets twice", "packets doubled", needs, quickBound, spoil(everywhere, network.Link{Duplicate: 0.25})},
		{"reordered", "let one of five packets be overtaken", "packets reordered", needs, quickBound, spoil(everywhere, network.Link{Reorder: 0.2})},
		{"corrupted", "flip a bit in one of 500 packets, under a right checksum", "packets corrupted", needs, netBound, spoil(everywhere, network.Link{Corrupt: 0.002})},
		{"narrow-leader", "let the leader send 200 KB a second to each host", "packets squeezed", needs, netBound, spoil(fromLeader, network.Link{BytesPerSecond: 200_000})},
	}
}

// spoil puts some links in a state for a while.
func spoil(choose chooser, state network.Link) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		before := b.Switch.Effects()
		for _, pair := range choose(ctx, b) {
			b.Switch.SetLink(pair.From, pair.To, state)
		}
		measure.Sleep(ctx, length)
		b.Switch.Heal()
		after := b.Switch.Effects()
		b.CountEffect("packets delayed", after.Delayed-before.Delayed)
		b.CountEffect("packets lost", after.Lost-before.Lost)
		b.CountEffect("packets doubled", after.Duplicated-before.Duplicated)
		b.CountEffect("packets reordered", after.Reordered-before.Reordered)
		b.CountEffect("packets corrupted", after.Corrupted-before.Corrupted)
		b.CountEffect("packets squeezed", after.Overflowed-before.Overflowed+after.Delayed-before.Delayed)
		return nil
	}
}

func everywhere(_ context.Context, b *bed.Bed) (pairs []network.Pair) {
	hosts := append(nodeHosts(b), gameHosts(b)...)
	for _, host := range nodeHosts(b) {
		pairs = append(pairs, linksOf(host, hosts, both)...)
	}
	return pairs
}

func atLeader(ctx context.Context, b *bed.Bed) []network.Pair {
	return linksOf(b.NodeHost(pickLeader(ctx, b).Number), append(nodeHosts(b), gameHosts(b)...), both)
}

func atFollower(ctx context.Context, b *bed.Bed) []network.Pair {
	return linksOf(b.NodeHost(pickFollower(ctx, b).Number), append(nodeHosts(b), gameHosts(b)...), both)
}

func fromLeader(ctx context.Context, b *bed.Bed) []network.Pair {
	return linksOf(b.NodeHost(pickLeader(ctx, b).Number), append(nodeHosts(b), gameHosts(b)...), outbound)
}
