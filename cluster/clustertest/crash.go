package clustertest

// life is a machine from its start to its crash. All of it is guarded by Network.mu.
type life struct {
	over  bool
	conns map[*conn]struct{}
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
	var listeners []*listener
	for _, at := range n.listeners {
		if at.host.life == l {
			listeners = append(listeners, at)
		}
	}
	n.mu.Unlock()
	for _, c := range conns {
		if mute {
			c.write.setMute(true)
		}
	}
	for _, at := range listeners {
		at.Close()
	}
	for _, c := range conns {
		c.closeEnds()
	}
	if mute {
		n.mu.Lock()
		for _, c := range conns {
			l.conns[c] = struct{}{}
		}
		n.mu.Unlock()
	}
}

// Return ends what Vanish left open at the peers of a host, as a machine does that knows nothing of a connection.
func (n *Network) Return(host string) {
	var left []*conn
	n.set(func() {
		if l := n.lost[host]; l != nil {
			for c := range l.conns {
				left = append(left, c)
			}
			clear(l.conns)
		}
		delete(n.lost, host)
	})
	for _, c := range left {
		c.write.drop()
		c.write.setMute(false)
	}
}

func (c *conn) closeEnds() {
	c.read.end(true)
	c.write.end(false)
}

func (h *half) setMute(mute bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mute.Store(mute)
	h.moved.Broadcast()
}

// drop loses what is on its way.
func (h *half) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.chunks, h.size = nil, 0
}
