package nemesis

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

// Ports, as the bed gives them to every host.
var (
	gossipPorts       = map[uint16]bool{7402: true}
	serverGossipPorts = map[uint16]bool{7404: true, 7405: true}
	clientPorts       = map[uint16]bool{7400: true}
	nodePorts         = map[uint16]bool{7401: true}
)

func clientCuts() []Nemesis {
	needs := Needs{Hosts: true}
	return []Nemesis{
		{"cut-game-server", "cut a game server off all nodes for longer than its lease", dropped, needs, netBound, atLeast(leaseAndMore, cut(aGameServerOff))},
		{"cut-game-server-from-leader", "cut a game server off the leader alone", dropped, needs, netBound, cut(gameServersFromLeader(1))},
		{"cut-game-servers-from-leader", "cut all game servers off the leader; the nodes reach each other", dropped, needs, netBound, cut(gameServersFromLeader(0))},
		{"cut-answers", "drop what the nodes send to the game servers: requests arrive, answers do not", dropped, needs, netBound, cut(answersLost)},
		{"cut-gossip-of-nodes", "drop the nodes' gossip alone", dropped, needs, quickBound, cutPorts(gossipPorts)},
		{"cut-gossip-of-game-servers", "drop the game servers' gossip alone", dropped, needs, quickBound, cutPorts(serverGossipPorts)},
		{"cut-clients-port", "drop the clients' port alone, of all nodes", dropped, needs, netBound, cutPorts(clientPorts)},
		{"cut-nodes-port", "drop the nodes' port alone, of all nodes", dropped, needs, netBound, cutPorts(nodePorts)},
		{"lose-udp", "lose two of five UDP packets", dropped, needs, quickBound, loseUDP},
	}
}

// atLeast holds a fault for so long at least.
func atLeast(least time.Duration, inject func(context.Context, *bed.Bed, time.Duration) error) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		return inject(ctx, b, max(length, least))
	}
}

func aGameServerOff(_ context.Context, b *bed.Bed) []network.Pair {
	return linksOf(b.GameHost(b.Random.IntN(len(b.GameServers))), nodeHosts(b), both)
}

// gameServersFromLeader cuts so many game servers off the leader; 0: all.
func gameServersFromLeader(count int) chooser {
	return func(ctx context.Context, b *bed.Bed) []network.Pair {
		hosts := gameHosts(b)
		if count > 0 {
			b.Random.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
			hosts = hosts[:count]
		}
		return linksOf(b.NodeHost(pickLeader(ctx, b).Number), hosts, both)
	}
}

func answersLost(_ context.Context, b *bed.Bed) (links []network.Pair) {
	for _, host := range gameHosts(b) {
		links = append(links, linksOf(host, nodeHosts(b), inbound)...)
	}
	return links
}

func cutPorts(ports map[uint16]bool) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		return dropBy(ctx, b, length, network.MatchPorts(ports))
	}
}

func loseUDP(ctx context.Context, b *bed.Bed, length time.Duration) error {
	return dropBy(ctx, b, length, network.MatchUDP(40))
}

func dropBy(ctx context.Context, b *bed.Bed, length time.Duration, filter network.Filter) error {
	before := b.Switch.Dropped()
	b.Switch.Drop(filter)
	measure.Sleep(ctx, length)
	b.Switch.Drop(nil)
	b.CountEffect(dropped, b.Switch.Dropped()-before)
	return nil
}
