package steady

import (
	"errors"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/bench/testbed"
)

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*report)
		want   string // empty: none
	}{
		"nothing lost":            {func(*report) {}, ""},
		"doubts":                  {func(r *report) { r.Doubts = 7 }, ""},
		"a session lost":          {func(r *report) { r.Lost = 1 }, "lost 1 sessions"},
		"a session missing":       {func(r *report) { r.Held = 399 }, "living game servers lost"},
		"an incarnation ended":    {func(r *report) { r.Ended = 1 }, "1 incarnations"},
		"an expiry":               {func(r *report) { r.Expiries = []string{"x"} }, "1 expiries"},
		"no packet dropped":       {func(r *report) { r.Packets = 0 }, "hit nothing"},
		"gossip accused too few":  {func(r *report) { r.Accused = 3 }, "hit nothing"},
		"gossip not cut, not bad": {func(r *report) { r.CutGossip, r.Accused = false, 0 }, ""},
	} {
		r := &report{
			Sessions: 400, SessionCounts: testbed.SessionCounts{Held: 400}, Loss: 10, CutGossip: true, Packets: 9, Accused: testbed.ServerCount,
		}
		c.change(r)
		err := errors.Join(r.Faults()...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNotedServers(t *testing.T) {
	w := &watch{seemedDead: make(map[uint64]bool)}
	server := func(incarnation uint64, alive bool, gossip string) *profilev1.Server {
		return &profilev1.Server{Incarnation: incarnation, Alive: alive, Gossip: gossip, SilentMs: 1500}
	}
	for _, gossip := range []string{"alive", "dead", "dead", "alive", "dead"} {
		w.noteServers([]*profilev1.Server{server(1, true, gossip), server(2, true, "alive"), server(3, false, "dead")}, 2)
	}
	if r := w.report; r.Accused != 2 || r.Dead != 6 || r.Ended != 1 || r.Silent != 1.5 {
		t.Errorf("accused %d times for %v s, %d ended, silent for %v s; want 2, 6, 1, 1.5", r.Accused, r.Dead, r.Ended, r.Silent)
	}
}
