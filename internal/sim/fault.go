package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// allHosts are the hosts on the network: nodes first.
func (w *World) allHosts() []string {
	var hosts []string
	for _, n := range w.nodes {
		hosts = append(hosts, n.name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.processes {
		hosts = append(hosts, s.process)
	}
	return hosts
}

// applyDefaultDelays gives every link of every node the delay that it has without faults. Frozen hosts stay cut off.
func (w *World) applyDefaultDelays() {
	for _, a := range w.allHosts() {
		for _, n := range w.nodes {
			if a == n.name {
				continue
			}
			for _, way := range [][2]string{{a, n.name}, {n.name, a}} {
				draw := rand.New(rand.NewPCG(w.Seed, hashText(way[0]+way[1])))
				d := 200*time.Microsecond + time.Duration(draw.IntN(2000))*time.Microsecond
				w.network.Delay(way[0], way[1], d)
				if w.scenario.Jitter > 0 {
					w.network.Jitter(way[0], way[1], w.scenario.Jitter)
				}
			}
		}
	}
	w.mu.Lock()
	still := slices.Collect(maps.Keys(w.still))
	w.mu.Unlock()
	for _, host := range still {
		w.network.Isolate(host, w.allHosts()...)
	}
}

func hashText(s string) (h uint64) {
	for _, b := range []byte(s) {
		h = h*1099511628211 + uint64(b)
	}
	return h
}

// Cut stops everything between two hosts, both ways. Hosts are n0, n1, ... and the names of game servers.
func (w *World) Cut(a, b string) {
	w.logFault("cut %s from %s", a, b)
	w.network.Cut(w.hostOf(a), w.hostOf(b))
}

// CutOneWay stops all traffic from one host to another.
func (w *World) CutOneWay(from, to string) {
	w.logFault("cut the way from %s to %s", from, to)
	w.network.CutOneWay(w.hostOf(from), w.hostOf(to))
}

// Isolate cuts a host off from all nodes.
func (w *World) Isolate(host string) {
	w.logFault("isolate %s", host)
	for _, n := range w.nodes {
		if n.name != host {
			w.network.Cut(w.hostOf(host), n.name)
		}
	}
}

// Delay makes all traffic from one host to another arrive later.
func (w *World) Delay(from, to string, by time.Duration) {
	w.logFault("delay packets from %s to %s by %v", from, to, by)
	w.network.Delay(w.hostOf(from), w.hostOf(to), by)
}

// SeparateNodes cuts every node off from every other.
func (w *World) SeparateNodes() {
	w.logFault("cut all nodes from each other")
	for i, a := range w.nodes {
		for _, b := range w.nodes[:i] {
			w.network.Cut(a.name, b.name)
		}
	}
}

// Heal undoes the faults of links, disks and gossip. A frozen process stays frozen.
func (w *World) Heal() {
	w.logFault("heal")
	for _, n := range w.nodes {
		n.reportsAllDead.Store(false)
		n.losesEvents.Store(false)
		n.slowDisk(0)
	}
	w.network.HealAll()
	w.applyDefaultDelays()
}

// Skew sets a host's clock off, and lets it run at a rate from here on.
func (w *World) Skew(host string, by time.Duration, rate float64) {
	w.logFault("the clock of %s jumps by %v and runs at %.2f", host, by, rate)
	w.mu.Lock()
	c := w.skews[host]
	w.mu.Unlock()
	c.setSkew(by, rate)
}

// Stop stops a game server's process: nothing reaches it or leaves it, and its clock stands still for it. Its goroutines
// cannot be stopped in a bubble: they go on with the data in hand, and find their clock where it was.
func (w *World) Stop(name string) {
	w.logFault("stop %s", name)
	w.mu.Lock()
	s := w.servers[name]
	s.stopped = true
	w.mu.Unlock()
	w.freezeHost(s.process, s.clock)
}

// Wake lets a stopped game server go on. Everything sent to it meanwhile arrives at once, and its clock shows the time that has
// passed.
func (w *World) Wake(name string) {
	w.logFault("wake %s", name)
	w.mu.Lock()
	s := w.servers[name]
	w.mu.Unlock()
	w.unfreezeHost(s.process, s.clock)
	w.mu.Lock()
	s.stopped = false
	w.mu.Unlock()
}

// wakeAll lets every frozen process go on.
func (w *World) wakeAll() {
	w.mu.Lock()
	var stopped []string
	for name, s := range w.servers {
		if s.stopped {
			stopped = append(stopped, name)
		}
	}
	w.mu.Unlock()
	slices.Sort(stopped)
	for _, name := range stopped {
		w.Wake(name)
	}
	for _, n := range w.joinedNodes() {
		if w.isPaused(n.number) {
			w.Resume(n.number)
		}
	}
}

func (w *World) freezeHost(host string, c *clock) {
	c.freezeClock()
	w.mu.Lock()
	w.still[host] = true
	w.mu.Unlock()
	w.network.Isolate(host, w.allHosts()...)
}

func (w *World) unfreezeHost(host string, c *clock) {
	w.mu.Lock()
	still := w.still[host]
	delete(w.still, host)
	w.mu.Unlock()
	if !still {
		return
	}
	c.thawClock()
	for _, other := range w.allHosts() {
		if other != host {
			w.network.Heal(host, other)
		}
	}
}

// hostOf is the machine that a name runs on now.
func (w *World) hostOf(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.servers[name]; s != nil {
		return s.process
	}
	return name
}
