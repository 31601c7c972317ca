package sim

import (
	"context"
	"math/rand/v2"
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

// calm gives every link of every node the delay that it has when all is well.
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
			}
		}
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

// Heal undoes every Cut, Isolate and Delay.
func (w *World) Heal() {
	w.fault("heal")
	w.network.HealAll()
	w.mu.Lock()
	var stopped []string
	for _, s := range w.servers {
		if s.stopped {
			stopped = append(stopped, s.process)
		}
	}
	w.mu.Unlock()
	w.calm()
	for _, host := range stopped {
		w.silence(host)
	}
}

// Crash ends a node's process: the others are refused there. Its disk keeps what was synced.
func (w *World) Crash(node int) {
	w.fault("crash n%d", node)
	w.nodes[node].stop(false)
}

// Lose ends a node's machine: the others hear nothing of it any more.
func (w *World) Lose(node int) {
	w.fault("lose n%d", node)
	w.nodes[node].stop(true)
}

// Restart starts a node that was crashed, lost or wiped.
func (w *World) Restart(node int) {
	w.fault("restart n%d", node)
	w.nodes[node].start()
}

// Wipe takes a stopped node's disk away.
func (w *World) Wipe(node int) {
	w.fault("wipe n%d", node)
	w.nodes[node].wipe()
}

// Skew sets a host's clock off, and lets it run at a rate from here on.
func (w *World) Skew(host string, by time.Duration, rate float64) {
	w.fault("the clock of %s jumps by %v and runs at %.2f", host, by, rate)
	w.mu.Lock()
	c := w.skews[host]
	w.mu.Unlock()
	c.skew(by, rate)
}

// Stop stops a game server's process: nothing reaches it or leaves it, and its clock stands still for it.
func (w *World) Stop(name string) {
	w.fault("stop %s", name)
	w.mu.Lock()
	s := w.servers[name]
	s.stopped = true
	w.mu.Unlock()
	s.clock.freeze()
	w.silence(s.process)
}

// Wake lets a stopped game server go on. All that came meanwhile comes at once, and its clock shows what has passed.
func (w *World) Wake(name string) {
	w.fault("wake %s", name)
	w.mu.Lock()
	s := w.servers[name]
	w.mu.Unlock()
	s.clock.thaw()
	for _, n := range w.nodes {
		w.network.Heal(s.process, n.name)
	}
	w.mu.Lock()
	s.stopped = false
	w.mu.Unlock()
}

func (w *World) silence(host string) {
	for _, n := range w.nodes {
		w.network.Cut(host, n.name)
	}
}

// Transfer has a leader hand the lead over.
func (w *World) Transfer(node int) {
	if n := w.Node(node); n != nil {
		w.fault("n%d is to hand the lead over", node)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = n.Transfer(ctx) // it may not lead
	}
}

// Snapshot has a node take one.
func (w *World) Snapshot(node int) {
	if n := w.Node(node); n != nil {
		w.fault("n%d takes a snapshot", node)
		_ = n.Snapshot() // refused while the tables are ahead of the replay
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
