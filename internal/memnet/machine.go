package memnet

// machine is a host from its start to its crash. All of it is guarded by Network.mu.
type machine struct {
	over  bool
	conns map[*conn]struct{}
	left  []*conn // open when it vanished: its peers do not know
}

// addConns notes a connection at both its ends; false: one of the two machines has crashed meanwhile.
func (n *Network) addConns(ends ...*conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range ends {
		if c.machine.over {
			return false
		}
	}
	for _, c := range ends {
		c.machine.conns[c] = struct{}{}
	}
	return true
}

func (n *Network) removeConn(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.machine.conns, c)
}

// Crash ends a host's process: its ports are closed, its peers see the end of their connections as soon as the links
// let them, and nothing that it sends from here on reaches another host. Host makes the next one of that name.
func (n *Network) Crash(host string) { n.endMachine(host, false) }

// Vanish ends a host's machine: the others hear nothing of it, and are not refused there, before Host has made the next
// one of that name and Return has let it in.
func (n *Network) Vanish(host string) { n.endMachine(host, true) }

func (n *Network) endMachine(host string, silently bool) {
	n.mu.Lock()
	m := n.machines[host]
	delete(n.machines, host)
	if m == nil {
		n.mu.Unlock()
		return
	}
	m.over = true
	conns := m.list()
	if silently {
		n.vanished[host] = m
		m.left = conns
		for _, c := range conns {
			c.write.mute.Store(true)
		}
	}
	var ports []interface{ Close() error }
	for _, l := range n.listeners {
		if l.host.machine == m {
			ports = append(ports, l)
		}
	}
	for _, p := range n.packets {
		if p.host.machine == m {
			ports = append(ports, p)
		}
	}
	n.mu.Unlock()
	for _, port := range ports {
		_ = port.Close()
	}
	for _, c := range conns {
		c.closeEnds()
	}
}

func (m *machine) list() []*conn {
	var conns []*conn
	for c := range m.conns {
		conns = append(conns, c)
	}
	return conns
}

// Return ends the connections that Vanish left open at the peers of a host, as a machine does that does not know them.
func (n *Network) Return(host string) {
	var left []*conn
	n.change(func() {
		if m := n.vanished[host]; m != nil {
			left = m.left
		}
		delete(n.vanished, host)
	})
	for _, c := range left {
		c.write.resume()
	}
}

// CloseConns ends a host's connections on its own side, as a middlebox may. Its peers see that as soon as the links let them.
func (n *Network) CloseConns(host string) {
	n.mu.Lock()
	var conns []*conn
	if m := n.machines[host]; m != nil {
		conns = m.list()
	}
	n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (c *conn) closeEnds() {
	c.read.end(true)
	c.write.end(false)
}

// resume tells a peer of a machine that has come back that the connection is over; data on its way is lost.
func (p *pipe) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chunks, p.size = nil, 0
	p.mute.Store(false)
	p.moved.Broadcast()
}
