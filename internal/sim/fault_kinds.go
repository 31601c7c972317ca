package sim

import "time"

// faultKind is one fault that RunNemesis injects.
type faultKind struct {
	name string
	do   func(h *nemesis, at target)
}

// target is the subject of a fault.
type target struct {
	node int    // the leader, every other time
	a, b string // that node's name, and another one's
	game string // a game server
}

var faultKinds = []faultKind{
	{"cut two nodes", func(h *nemesis, at target) { h.Cut(at.a, at.b) }},
	{"cut one way between nodes", func(h *nemesis, at target) {
		if h.Rand.IntN(2) == 0 {
			at.a, at.b = at.b, at.a
		}
		h.CutOneWay(at.a, at.b)
	}},
	{"isolate a node", func(h *nemesis, at target) { h.Isolate(at.a) }},
	{"cut a node from the nodes", func(h *nemesis, at target) { // clients still reach it, and it reaches no node
		for _, n := range h.nodes {
			if n.name != at.a {
				h.Cut(at.a, n.name)
			}
		}
	}},
	{"cut all nodes apart", func(h *nemesis, _ target) { h.SeparateNodes() }},
	{"cut a game server from a node", func(h *nemesis, at target) { h.Cut(at.game, at.a) }},
	{"isolate a game server", func(h *nemesis, at target) { h.Isolate(at.game) }},
	{"a game server hears nothing", func(h *nemesis, at target) {
		for _, n := range h.nodes {
			h.CutOneWay(n.name, at.game)
		}
	}},
	{"a game server is not heard", func(h *nemesis, at target) {
		for _, n := range h.nodes {
			h.CutOneWay(at.game, n.name)
		}
	}},
	{"a game server does not hear a node", func(h *nemesis, at target) { h.CutOneWay(at.a, at.game) }},
	{"slow link between nodes", func(h *nemesis, at target) { h.Delay(at.a, at.b, drawDuration(h.Rand, time.Second)) }},
	{"slow link to a node", func(h *nemesis, at target) { h.Delay(at.b, at.a, drawDuration(h.Rand, time.Second)) }},
	{"slow link to a game server", func(h *nemesis, at target) { h.Delay(at.a, at.game, drawDuration(h.Rand, 3*time.Second)) }},
	{"slow link from a game server", func(h *nemesis, at target) { h.Delay(at.game, at.a, drawDuration(h.Rand, 3*time.Second)) }},
	{"crash a node", func(h *nemesis, at target) { h.Crash(at.node) }},
	{"lose a node", func(h *nemesis, at target) { h.Lose(at.node) }},
	{"replace a node", func(h *nemesis, at target) { h.Replace(at.node) }},
	{"join", func(h *nemesis, _ target) { h.Join() }},
	{"pause or resume a node", func(h *nemesis, at target) {
		if h.isPaused(at.node) {
			h.Resume(at.node)
		} else {
			h.Pause(at.node)
		}
	}},
	{"slow disk", func(h *nemesis, at target) { h.SlowDisk(at.node, drawDuration(h.Rand, 1500*time.Millisecond)) }},
	{"transfer", func(h *nemesis, at target) { h.Transfer(at.node) }},
	{"snapshot", func(h *nemesis, at target) { h.Snapshot(at.node) }},
	{"wrong clock of a node", func(h *nemesis, at target) {
		h.Skew(at.a, drawDuration(h.Rand, time.Hour)-30*time.Minute, h.drawClockRate())
	}},
	{"clock rate of a game server", func(h *nemesis, at target) {
		if h.runningServer(at.game) != nil {
			h.Skew(at.game, 0, h.drawClockRate()) // the clock of the failure detector runs at 1
		}
	}},
	{"an operator's release", func(h *nemesis, _ target) {
		h.Release(h.profiles[h.Rand.IntN(len(h.profiles))], h.Rand.IntN(2) == 0, time.Second)
	}},
	{"kill a game server", func(h *nemesis, at target) { h.endServer(at.game, "kill", (*Server).Kill) }},
	{"lose a game server's host", func(h *nemesis, at target) { h.endServer(at.game, "lose", (*Server).Lose) }},
	{"close a game server", func(h *nemesis, at target) {
		h.endServer(at.game, "close", func(s *Server) { s.Close(drawDuration(h.Rand, 5*time.Second)) })
	}},
	{"a namesake", func(h *nemesis, at target) { // the observer sees an owner that is let in beside an active session
		limit, stay := 100*time.Millisecond+drawDuration(h.Rand, 4*time.Second), drawDuration(h.Rand, 2*time.Second)
		h.joining.Go(func() {
			if s := h.Namesake(at.game, limit); s != nil {
				h.Sleep(stay)
				s.Kill()
			}
		})
	}},
	{"stop or wake a game server", func(h *nemesis, at target) { h.stopOrWakeServer(at.game) }},
	{"report all dead", func(h *nemesis, at target) { h.ReportAllDead(at.node) }},
	{"lost pushes", func(h *nemesis, at target) { h.LoseEvents(at.node) }},
}

// drawClockRate is the rate of a clock that is as wrong as ARCHITECTURE.md allows: two clocks within a ratio of 1.2.
func (h *nemesis) drawClockRate() float64 {
	const ratio = 1.2
	if h.Rand.IntN(2) == 0 {
		return ratio
	}
	return 1 / ratio
}
