package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// hosts are all that are on the network: nodes first.
func (w *World) hosts() []string {
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

// calm gives every link of every node the delay that it has when all is well. Who stands still stays out of reach.
func (w *World) calm() {
	for _, a := range w.hosts() {
		for _, n := range w.nodes {
			if a == n.name {
				continue
			}
			for _, way := range [][2]string{{a, n.name}, {n.name, a}} {
				draw := rand.New(rand.NewPCG(w.Seed, hash(way[0]+way[1])))
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
		w.network.Isolate(host, w.hosts()...)
	}
}

func hash(s string) (h uint64) {
	for _, b := range []byte(s) {
		h = h*1099511628211 + uint64(b)
	}
	return h
}

// Cut stops everything between two hosts, both ways. Hosts are n0, n1, ... and the names of game servers.
func (w *World) Cut(a, b string) {
	w.fault("cut %s from %s", a, b)
	w.network.Cut(w.host(a), w.host(b))
}

// CutOneWay stops what one host sends to another.
func (w *World) CutOneWay(from, to string) {
	w.fault("cut the way from %s to %s", from, to)
	w.network.CutOneWay(w.host(from), w.host(to))
}

// Isolate cuts a host off from all nodes.
func (w *World) Isolate(host string) {
	w.fault("isolate %s", host)
	for _, n := range w.nodes {
		if n.name != host {
			w.network.Cut(w.host(host), n.name)
		}
	}
}

// Delay makes what one host sends to another arrive later.
func (w *World) Delay(from, to string, by time.Duration) {
	w.fault("delay what %s sends to %s by %v", from, to, by)
	w.network.Delay(w.host(from), w.host(to), by)
}

// Apart cuts every node off from every other.
func (w *World) Apart() {
	w.fault("cut all nodes from each other")
	for i, a := range w.nodes {
		for _, b := range w.nodes[:i] {
			w.network.Cut(a.name, b.name)
		}
	}
}

// Heal undoes what was done to links and to what nodes hear and write. Who stands still goes on standing still.
func (w *World) Heal() {
	w.fault("heal")
	for _, n := range w.nodes {
		n.slanders.Store(false)
		n.deaf.Store(false)
		n.slowDown(0)
	}
	w.network.HealAll()
	w.calm()
}

// Skew sets a host's clock off, and lets it run at a rate from here on.
func (w *World) Skew(host string, by time.Duration, rate float64) {
	w.fault("the clock of %s jumps by %v and runs at %.2f", host, by, rate)
	w.mu.Lock()
	c := w.skews[host]
	w.mu.Unlock()
	c.skew(by, rate)
}

// Stop stops a game server's process: nothing reaches it or leaves it, and its clock stands still for it. Its goroutines
// cannot be stopped in a bubble: they go on with what they have, and find their clock where it was.
func (w *World) Stop(name string) {
	w.fault("stop %s", name)
	w.mu.Lock()
	s := w.servers[name]
	s.stopped = true
	w.mu.Unlock()
	w.standStill(s.process, s.clock)
}

// Wake lets a stopped game server go on. All that came meanwhile comes at once, and its clock shows what has passed.
func (w *World) Wake(name string) {
	w.fault("wake %s", name)
	w.mu.Lock()
	s := w.servers[name]
	w.mu.Unlock()
	w.goOn(s.process, s.clock)
	w.mu.Lock()
	s.stopped = false
	w.mu.Unlock()
}

// wakeAll lets everybody go on who stands still.
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
	for _, n := range w.members() {
		if w.paused(n.number) {
			w.Resume(n.number)
		}
	}
}

func (w *World) standStill(host string, c *clock) {
	c.freeze()
	w.mu.Lock()
	w.still[host] = true
	w.mu.Unlock()
	w.network.Isolate(host, w.hosts()...)
}

func (w *World) goOn(host string, c *clock) {
	w.mu.Lock()
	still := w.still[host]
	delete(w.still, host)
	w.mu.Unlock()
	if !still {
		return
	}
	c.thaw()
	for _, other := range w.hosts() {
		if other != host {
			w.network.Heal(host, other)
		}
	}
}

// host is the machine that a name runs on now.
func (w *World) host(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.servers[name]; s != nil {
		return s.process
	}
	return name
}
