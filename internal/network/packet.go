package network

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	ipTCP = 6
	ipUDP = 17

	ipHeaderBytes  = 20 // at least
	tcpHeaderBytes = 20 // at least
	udpHeaderBytes = 8
	destinationAt  = 16 // offset of the destination's address in an IPv4 header
)

// parsePorts finds protocol and ports of an IPv4 packet; ok is false if it has no ports, as a later fragment has none.
func parsePorts(packet []byte) (protocol byte, source, destination uint16, ok bool) {
	if len(packet) < ipHeaderBytes || packet[0]>>4 != 4 {
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

// corruptPayload flips one bit of the payload of a TCP or UDP packet, and makes the transport checksum fit: the kernel would
// drop the packet otherwise, and no program would see it. It returns false for a packet without a payload, and for a fragment,
// whose checksum also counts bytes of other packets.
func corruptPayload(packet []byte, random *rand.Rand) bool {
	protocol, _, _, ok := parsePorts(packet)
	const moreFragments = 0x2000
	if !ok || binary.BigEndian.Uint16(packet[6:])&moreFragments != 0 {
		return false
	}
	segment := packet[int(packet[0]&0xf)*4:]
	var payload, checksum []byte
	switch {
	case protocol == ipUDP && len(segment) > udpHeaderBytes:
		payload, checksum = segment[udpHeaderBytes:], segment[6:8]
	case protocol == ipTCP && len(segment) > tcpHeaderBytes && len(segment) > int(segment[12]>>4)*4:
		payload, checksum = segment[int(segment[12]>>4)*4:], segment[16:18]
	default:
		return false
	}
	payload[random.IntN(len(payload))] ^= 1 << random.IntN(8)
	if protocol == ipUDP && binary.BigEndian.Uint16(checksum) == 0 {
		return true // its sender computed none
	}
	binary.BigEndian.PutUint16(checksum, 0)
	sum := sumTransport(packet[destinationAt-4:destinationAt+4], protocol, segment)
	if sum == 0 && protocol == ipUDP {
		sum = 0xffff // RFC 768: a zero would say that there is none
	}
	binary.BigEndian.PutUint16(checksum, sum)
	return true
}

// sumTransport is the checksum of RFC 793 and RFC 768 over the pseudo header and a segment whose checksum field is zero.
// addresses are the source's and the destination's.
func sumTransport(addresses []byte, protocol byte, segment []byte) uint16 {
	sum := uint32(protocol) + uint32(len(segment))
	for _, part := range [][]byte{addresses, segment} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
