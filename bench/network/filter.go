package network

import (
	"encoding/binary"
	"math/rand/v2"
)

// Filter says of an IP packet between two hosts whether it is dropped.
type Filter func(from, to int, packet []byte) (drop bool)

// Link is the way from one host to another.
type Link struct{ From, To int }

// DropLinks drops every packet on some links.
func DropLinks(links ...Link) Filter {
	dropped := make(map[Link]bool)
	for _, l := range links {
		dropped[l] = true
	}
	return func(from, to int, _ []byte) bool { return dropped[Link{from, to}] }
}

// DropUDP drops a percentage of UDP packets, each by chance.
func DropUDP(percent int) Filter {
	return func(_, _ int, packet []byte) bool {
		protocol, _, _, _ := parsePorts(packet)
		return protocol == ipUDP && rand.IntN(100) < percent
	}
}

// DropPorts drops the packets from or to some ports, TCP and UDP.
func DropPorts(ports map[uint16]bool) Filter {
	return func(_, _ int, packet []byte) bool {
		_, source, destination, ok := parsePorts(packet)
		return ok && (ports[source] || ports[destination])
	}
}

const (
	ipTCP = 6
	ipUDP = 17
)

// parsePorts finds protocol and ports of an IPv4 packet; ok is false if it has no ports, as a later fragment has none.
func parsePorts(packet []byte) (protocol byte, source, destination uint16, ok bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return 0, 0, 0, false
	}
	header := int(packet[0]&0xf) * 4
	later := binary.BigEndian.Uint16(packet[6:])&0x1fff != 0
	protocol = packet[9]
	if later || protocol != ipTCP && protocol != ipUDP || len(packet) < header+4 {
		return protocol, 0, 0, false
	}
	return protocol, binary.BigEndian.Uint16(packet[header:]), binary.BigEndian.Uint16(packet[header+2:]), true
}
