package main

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	ipTCP = 6
	ipUDP = 17
)

// packetPorts is the protocol and the ports of an IPv4 packet; ok is false for what has no ports, such as a later fragment.
func packetPorts(packet []byte) (protocol byte, from, to uint16, ok bool) {
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

// dropUDP loses a percentage of UDP packets, each by a throw of its own.
func dropUDP(percent int) func(packet []byte) bool {
	return func(packet []byte) bool {
		protocol, _, _, _ := packetPorts(packet)
		return protocol == ipUDP && rand.IntN(100) < percent
	}
}

// dropPorts loses what comes from or goes to some ports, TCP and UDP.
func dropPorts(ports map[uint16]bool) func(packet []byte) bool {
	return func(packet []byte) bool {
		_, from, to, ok := packetPorts(packet)
		return ok && (ports[from] || ports[to])
	}
}
