package sim

import "time"

// act is one thing that Havoc does.
type act struct {
	name string
	do   func(h *havoc, at place)
}

// place is where it strikes.
type place struct {
	node int    // the leader, every other time
	a, b string // that node's name, and another one's
	game string // a game server
}

var acts = []act{
	{"cut two nodes", func(h *havoc, at place) { h.Cut(at.a, at.b) }},
	{"cut one way between nodes", func(h *havoc, at place) {
		if h.Rand.IntN(2) == 0 {
			at.a, at.b = at.b, at.a
		}
		h.CutOneWay(at.a, at.b)
	}},
	{"isolate a node", func(h *havoc, at place) { h.Isolate(at.a) }},
	{"cut a node from the nodes", func(h *havoc, at place) { // clients still reach it, and it nobody
		for _, n := range h.nodes {
			if n.name != at.a {
				h.Cut(at.a, n.name)
			}
		}
	}},
	{"cut all nodes apart", func(h *havoc, _ place) { h.Apart() }},
	{"cut a game server from a node", func(h *havoc, at place) { h.Cut(at.game, at.a) }},
	{"isolate a game server", func(h *havoc, at place) { h.Isolate(at.game) }},
	{"a game server hears nothing", func(h *havoc, at place) {
		for _, n := range h.nodes {
			h.CutOneWay(n.name, at.game)
		}
	}},
	{"nobody hears a game server", func(h *havoc, at place) {
		for _, n := range h.nodes {
			h.CutOneWay(at.game, n.name)
		}
	}},
	{"a game server does not hear a node", func(h *havoc, at place) { h.CutOneWay(at.a, at.game) }},
	{"slow link between nodes", func(h *havoc, at place) { h.Delay(at.a, at.b, upTo(h.Rand, time.Second)) }},
	{"slow link to a node", func(h *havoc, at place) { h.Delay(at.b, at.a, upTo(h.Rand, time.Second)) }},
	{"slow link to a game server", func(h *havoc, at place) { h.Delay(at.a, at.game, upTo(h.Rand, 3*time.Second)) }},
	{"slow link from a game server", func(h *havoc, at place) { h.Delay(at.game, at.a, upTo(h.Rand, 3*time.Second)) }},
	{"crash a node", func(h *havoc, at place) { h.Crash(at.node) }},
	{"lose a node", func(h *havoc, at place) { h.Lose(at.node) }},
	{"replace a node", func(h *havoc, at place) { h.Replace(at.node) }},
	{"join", func(h *havoc, _ place) { h.Join() }},
	{"pause or resume a node", func(h *havoc, at place) {
		if h.paused(at.node) {
			h.Resume(at.node)
		} else {
			h.Pause(at.node)
		}
	}},
	{"slow disk", func(h *havoc, at place) { h.SlowDisk(at.node, upTo(h.Rand, 1500*time.Millisecond)) }},
	{"transfer", func(h *havoc, at place) { h.Transfer(at.node) }},
	{"snapshot", func(h *havoc, at place) { h.Snapshot(at.node) }},
	{"wrong clock of a node", func(h *havoc, at place) {
		h.Skew(at.a, upTo(h.Rand, time.Hour)-30*time.Minute, h.rate())
	}},
	{"clock rate of a game server", func(h *havoc, at place) {
		if h.present(at.game) != nil {
			h.Skew(at.game, 0, h.rate()) // a judge's runs at 1
		}
	}},
	{"an operator's release", func(h *havoc, _ place) {
		h.Release(h.profiles[h.Rand.IntN(len(h.profiles))], h.Rand.IntN(2) == 0, time.Second)
	}},
	{"kill a game server", func(h *havoc, at place) { h.end(at.game, "kill", (*Server).Kill) }},
	{"lose a game server's host", func(h *havoc, at place) { h.end(at.game, "lose", (*Server).Lose) }},
	{"close a game server", func(h *havoc, at place) {
		h.end(at.game, "close", func(s *Server) { s.Close(upTo(h.Rand, 5*time.Second)) })
	}},
	{"a namesake", func(h *havoc, at place) { // whoever is let in beside a session that is active, the observer sees
		limit, stay := 100*time.Millisecond+upTo(h.Rand, 4*time.Second), upTo(h.Rand, 2*time.Second)
		h.joining.Go(func() {
			if s := h.Namesake(at.game, limit); s != nil {
				h.Sleep(stay)
				s.Kill()
			}
		})
	}},
	{"stop or wake a game server", func(h *havoc, at place) { h.stopOrWake(at.game) }},
	{"slander", func(h *havoc, at place) { h.Slander(at.node) }},
	{"lost pushes", func(h *havoc, at place) { h.Deafen(at.node) }},
}

// rate is as far off as two clocks may be from each other.
func (h *havoc) rate() float64 {
	const ratio = 1.2
	if h.Rand.IntN(2) == 0 {
		return ratio
	}
	return 1 / ratio
}
