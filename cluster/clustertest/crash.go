package clustertest

// life is a machine from its start to its crash. All of it is guarded by Network.mu.
type life struct {
	over  bool
	conns map[*conn]struct{}
	left  []*conn // when it vanished: its peers do not know
}

// enter notes a connection at both its ends; false: one of them has crashed meanwhile.
func (n *Network) enter(ends ...*conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range ends {
		if c.life.over {
			return false
		}
	}
	for _, c := range ends {
		c.life.conns[c] = struct{}{}
	}
	return true
}

func (n *Network) leave(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.life.conns, c)
}

// Crash ends a host's process: its listeners are gone, its peers see the end of their connections as soon as the links
// let them, and what it does from here on with what it had reaches nobody. Host makes the next one of that name.
func (n *Network) Crash(host string) { n.end(host, false) }

// Vanish ends a host's machine: nobody hears anything of it, and nobody is refused there, before Host has made the next
// one of that name and Return has let it in.
func (n *Network) Vanish(host string) { n.end(host, true) }

func (n *Network) end(host string, mute bool) {
	n.mu.Lock()
	l := n.lives[host]
	delete(n.lives, host)
	if l == nil {
		n.mu.Unlock()
		return
	}
	l.over = true
	if mute {
		n.lost[host] = l
	}
	var conns []*conn
	for c := range l.conns {
		conns = append(conns, c)
	}
	if mute {
		l.left = conns
		for _, c := range conns {
			c.write.mute.Store(true)
		}
	}
	var listeners []*listener
	for _, at := range n.listeners {
		if at.host.life == l {
			listeners = append(listeners, at)
		}
	}
	n.mu.Unlock()
	for _, at := range listeners {
		_ = at.Close()
	}
	for _, c := range conns {
		c.closeEnds()
	}
}

// Return ends what Vanish left open at the peers of a host, as a machine does that knows nothing of a connection.
func (n *Network) Return(host string) {
	var left []*conn
	n.set(func() {
		if l := n.lost[host]; l != nil {
			left = l.left
		}
		delete(n.lost, host)
	})
	for _, c := range left {
		c.write.resume()
	}
}

func (c *conn) closeEnds() {
	c.read.end(true)
	c.write.end(false)
}

// resume tells a peer of a machine that has come back that the connection is over; what was on its way is lost.
func (h *half) resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.chunks, h.size = nil, 0
	h.mute.Store(false)
	h.moved.Broadcast()
}
