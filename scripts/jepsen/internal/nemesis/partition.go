package nemesis

import (
	"context"
	"time"

	"github.com/profilenode/profilenode/bench/measure"
	"github.com/profilenode/profilenode/internal/network"
	"github.com/profilenode/profilenode/scripts/jepsen/internal/bed"
)

const dropped = "packets dropped"

func partitions() []Nemesis {
	needs := Needs{Hosts: true}
	return []Nemesis{
		{"cut-leader", "cut the leader off the other nodes; game servers reach it", dropped, needs, netBound, cut(leaderFromNodes(both))},
		{"cut-leader-hears-nothing", "drop what the other nodes send to the leader", dropped, needs, netBound, cut(leaderFromNodes(inbound))},
		{"cut-leader-unheard", "drop what the leader sends to the other nodes", dropped, needs, netBound, cut(leaderFromNodes(outbound))},
		{"cut-follower", "cut a follower off all others", dropped, needs, netBound, cut(hostOff(aFollower))},
		{"cut-leader-host", "cut the leader off everything", dropped, needs, netBound, cut(hostOff(theLeader))},
		{"cut-all-nodes", "cut every node off every other", dropped, needs, netBound, cut(allApart)},
		{"cut-bridge", "cut two nodes off each other; a third reaches both", dropped, needs, netBound, cut(bridge)},
		{"cut-leader-but-one", "cut the leader off all but one node and one game server", dropped, needs, netBound, cut(leaderButOne)},
		{"cut-rotating", "cut one node off after the other, so that each majority is another one", dropped, needs, netBound, cutInTurn},
		{"cut-flapping", "cut links by chance, others every moment", dropped, needs, netBound, flap},
	}
}

// way is the direction of a cut, as the named host sees it.
type way uint8

const (
	both way = iota
	inbound
	outbound
)

// linksOf are the links between one host and others.
func linksOf(host int, others []int, w way) (links []network.Pair) {
	for _, other := range others {
		if other == host {
			continue
		}
		if w != inbound {
			links = append(links, network.Pair{From: host, To: other})
		}
		if w != outbound {
			links = append(links, network.Pair{From: other, To: host})
		}
	}
	return links
}

func nodeHosts(b *bed.Bed) (hosts []int) {
	for i := range b.Nodes {
		hosts = append(hosts, b.NodeHost(i))
	}
	return hosts
}

func gameHosts(b *bed.Bed) (hosts []int) {
	for i := range b.GameServers {
		hosts = append(hosts, b.GameHost(i))
	}
	return hosts
}

// chooser chooses links.
type chooser func(ctx context.Context, b *bed.Bed) []network.Pair

// cut drops every packet on some links.
func cut(choose chooser) func(context.Context, *bed.Bed, time.Duration) error {
	return func(ctx context.Context, b *bed.Bed, length time.Duration) error {
		dropLinks(ctx, b, length, choose(ctx, b))
		return nil
	}
}

func dropLinks(ctx context.Context, b *bed.Bed, length time.Duration, links []network.Pair) {
	before := b.Switch.Dropped()
	b.Switch.Drop(network.MatchPairs(links...))
	measure.Sleep(ctx, length)
	b.Switch.Drop(nil)
	b.CountEffect(dropped, b.Switch.Dropped()-before)
}

func leaderFromNodes(w way) chooser {
	return func(ctx context.Context, b *bed.Bed) []network.Pair {
		return linksOf(b.NodeHost(pickLeader(ctx, b).Number), nodeHosts(b), w)
	}
}

func hostOff(pick picker) chooser {
	return func(ctx context.Context, b *bed.Bed) (links []network.Pair) {
		for _, n := range pick(ctx, b) {
			links = append(links, linksOf(b.NodeHost(n.Number), append(nodeHosts(b), gameHosts(b)...), both)...)
		}
		return links
	}
}

func allApart(_ context.Context, b *bed.Bed) (links []network.Pair) {
	for _, host := range nodeHosts(b) {
		links = append(links, linksOf(host, nodeHosts(b), outbound)...)
	}
	return links
}

func bridge(_ context.Context, b *bed.Bed) []network.Pair {
	order := b.Random.Perm(len(b.Nodes))
	return linksOf(b.NodeHost(order[0]), []int{b.NodeHost(order[1])}, both)
}

func leaderButOne(ctx context.Context, b *bed.Bed) []network.Pair {
	leader := pickLeader(ctx, b).Number
	spared := b.Random.IntN(len(b.Nodes))
	for spared == leader {
		spared = b.Random.IntN(len(b.Nodes))
	}
	var others []int
	for i := range b.Nodes {
		if i != spared {
			others = append(others, b.NodeHost(i))
		}
	}
	return linksOf(b.NodeHost(leader), append(others, gameHosts(b)[1:]...), both)
}

func cutInTurn(ctx context.Context, b *bed.Bed, length time.Duration) error {
	part := max(length/time.Duration(2*len(b.Nodes)), 700*time.Millisecond)
	for turn := range 2 * len(b.Nodes) {
		if ctx.Err() != nil {
			break
		}
		dropLinks(ctx, b, part, linksOf(b.NodeHost(turn%len(b.Nodes)), nodeHosts(b), both))
	}
	return nil
}

func flap(ctx context.Context, b *bed.Bed, length time.Duration) error {
	hosts := append(nodeHosts(b), gameHosts(b)...)
	for until := time.Now().Add(length); time.Now().Before(until) && ctx.Err() == nil; {
		var links []network.Pair
		for _, from := range hosts {
			for _, to := range nodeHosts(b) {
				if from != to && b.Random.IntN(3) == 0 {
					links = append(links, network.Pair{From: from, To: to})
				}
			}
		}
		dropLinks(ctx, b, time.Duration(100+b.Random.IntN(400))*time.Millisecond, links)
	}
	return nil
}
