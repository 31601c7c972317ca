package network

import "testing"

// makePacket is an IPv4 packet with protocol, ports and fragment offset.
func makePacket(protocol byte, source, destination uint16, offset byte) []byte {
	p := make([]byte, 28)
	p[0], p[7], p[9] = 0x45, offset, protocol
	p[20], p[21], p[22], p[23] = byte(source>>8), byte(source), byte(destination>>8), byte(destination)
	return p
}

func TestFilters(t *testing.T) {
	byPort := MatchPorts(map[uint16]bool{7404: true})
	for name, c := range map[string]struct {
		packet    []byte
		port, udp bool // dropped by its port, and as UDP
	}{
		"UDP to the port":        {makePacket(ipUDP, 9, 7404, 0), true, true},
		"UDP from the port":      {makePacket(ipUDP, 7404, 9, 0), true, true},
		"TCP to the port":        {makePacket(ipTCP, 9, 7404, 0), true, false},
		"TCP to another":         {makePacket(ipTCP, 9, 7400, 0), false, false},
		"UDP to another":         {makePacket(ipUDP, 9, 7400, 0), false, true},
		"a later fragment":       {makePacket(ipUDP, 9, 7404, 8), false, true},
		"neither":                {makePacket(1, 9, 7404, 0), false, false},
		"IPv6":                   {append([]byte{0x60}, make([]byte, 40)...), false, false},
		"too short for a header": {make([]byte, 7), false, false},
	} {
		if got := byPort(0, 1, c.packet); got != c.port {
			t.Errorf("%s: dropped by its port: %v, want %v", name, got, c.port)
		}
		if got := MatchUDP(100)(0, 1, c.packet); got != c.udp {
			t.Errorf("%s: dropped as UDP: %v, want %v", name, got, c.udp)
		}
		if MatchUDP(0)(0, 1, c.packet) {
			t.Errorf("%s: dropped at 0 percent", name)
		}
	}
	oneWay := MatchPairs(Pair{From: 1, To: 2})
	if !oneWay(1, 2, nil) || oneWay(2, 1, nil) || oneWay(1, 0, nil) {
		t.Error("a cut of one direction of one link dropped others, or not that one")
	}
}
