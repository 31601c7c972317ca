package network

import (
	"math/rand/v2"
)

// Filter says of an IP packet between two hosts whether it is one of those that are meant, to be dropped or to be impaired.
type Filter func(from, to int, packet []byte) (match bool)

// Pair is the way from one host to another.
type Pair struct{ From, To int }

// MatchPairs matches every packet on some ways.
func MatchPairs(pairs ...Pair) Filter {
	matched := make(map[Pair]bool)
	for _, p := range pairs {
		matched[p] = true
	}
	return func(from, to int, _ []byte) bool { return matched[Pair{from, to}] }
}

// MatchUDP matches a percentage of UDP packets, each by chance.
func MatchUDP(percent int) Filter {
	return func(_, _ int, packet []byte) bool {
		protocol, _, _, _ := parsePorts(packet)
		return protocol == ipUDP && rand.IntN(100) < percent
	}
}

// MatchPorts matches the packets from or to some ports, TCP and UDP.
func MatchPorts(ports map[uint16]bool) Filter {
	return func(_, _ int, packet []byte) bool {
		_, source, destination, ok := parsePorts(packet)
		return ok && (ports[source] || ports[destination])
	}
}
