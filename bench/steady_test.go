package main

import (
	"strings"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
)

// ip4 is a packet with nothing in it but what transport reads.
func ip4(protocol byte, from, to uint16, offset byte) []byte {
	p := make([]byte, 28)
	p[0], p[7], p[9] = 0x45, offset, protocol
	p[20], p[21], p[22], p[23] = byte(from>>8), byte(from), byte(to>>8), byte(to)
	return p
}

func TestWhatIsLost(t *testing.T) {
	ports := dropPorts(map[uint16]bool{7404: true})
	for name, c := range map[string]struct {
		packet     []byte
		port, loss bool // lost by its port, and by a loss of all
	}{
		"UDP to the port":        {ip4(ipUDP, 9, 7404, 0), true, true},
		"UDP from the port":      {ip4(ipUDP, 7404, 9, 0), true, true},
		"TCP to the port":        {ip4(ipTCP, 9, 7404, 0), true, false},
		"TCP to another":         {ip4(ipTCP, 9, 7400, 0), false, false},
		"UDP to another":         {ip4(ipUDP, 9, 7400, 0), false, true},
		"a later fragment":       {ip4(ipUDP, 9, 7404, 8), false, true},
		"neither":                {ip4(1, 9, 7404, 0), false, false},
		"IPv6":                   {append([]byte{0x60}, make([]byte, 40)...), false, false},
		"too short for a header": {make([]byte, 7), false, false},
	} {
		if got := ports(c.packet); got != c.port {
			t.Errorf("%s: lost by its port: %v, want %v", name, got, c.port)
		}
		if got := dropUDP(100)(c.packet); got != c.loss {
			t.Errorf("%s: lost by chance: %v, want %v", name, got, c.loss)
		}
		if dropUDP(0)(c.packet) {
			t.Errorf("%s: lost by no chance at all", name)
		}
	}
}

func TestSteadyVerdict(t *testing.T) {
	well := func(change func(*steadyReport)) *steadyReport {
		r := &steadyReport{Sessions: 400, tryCounts: tryCounts{Held: 400}, Loss: 10, CutGossip: true, Packets: 9, Accused: bedServers}
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		change func(*steadyReport)
		want   string // empty: all is well
	}{
		"all is well":               {func(*steadyReport) {}, ""},
		"doubts cost nothing":       {func(r *steadyReport) { r.Doubts = 7 }, ""},
		"a session lost":            {func(r *steadyReport) { r.Lost = 1 }, "lost 1 sessions"},
		"a session that is no more": {func(r *steadyReport) { r.Held = 399 }, "the living lost"},
		"an incarnation ended":      {func(r *steadyReport) { r.Ended = 1 }, "1 incarnations"},
		"a verdict":                 {func(r *steadyReport) { r.Verdicts = []string{"x"} }, "1 verdicts"},
		"nothing was dropped":       {func(r *steadyReport) { r.Packets = 0 }, "hit nothing"},
		"gossip said nothing":       {func(r *steadyReport) { r.Accused = 3 }, "hit nothing"},
	} {
		err := well(c.change).checkGoals()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSteadyLooks(t *testing.T) {
	r, dead := &steadyReport{}, map[uint64]bool{}
	server := func(inc uint64, alive bool, gossip string) *profilev1.Server {
		return &profilev1.Server{
			Incarnation: inc, Kind: profilev1.ServerKind_SERVER_KIND_GAME_SERVER, Alive: alive, Gossip: gossip, SilentMs: 1500,
		}
	}
	for _, gossip := range []string{"alive", "dead", "dead", "alive", "dead"} {
		r.noteServers([]*profilev1.Server{server(1, true, gossip), server(2, true, "alive"), server(3, false, "dead")}, dead, 2)
	}
	if r.Accused != 2 || r.Dead != 6 || r.Ended != 1 || r.Silent != 1.5 {
		t.Errorf("accused %d times for %v s, %d ended, silent for %v s; want 2, 6, 1, 1.5", r.Accused, r.Dead, r.Ended, r.Silent)
	}
}
