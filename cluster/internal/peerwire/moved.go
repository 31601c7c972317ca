package peerwire

import (
	"maps"
	"net"
)

// Place is where a process of a node answers.
type Place struct {
	Address   string // host:port for nodes
	ProcessID string // as in its Hello
}

// movedNodes holds where nodes are reached that do not answer at their configured addresses, and the connections to them.
type movedNodes struct {
	places map[string]Place    // by node id
	conns  map[net.Conn]string // id of the node to which a connection goes
}

// SetMoved replaces the places of nodes that are reached elsewhere than at their configured addresses, by node id. Connections
// that were opened to another place of the same node, or to a node that is no longer among them, are closed.
func (p *Port) SetMoved(moved map[string]Place) {
	p.mu.Lock()
	was := p.moved.places
	p.moved.places = moved
	var closing []net.Conn
	for c, id := range p.moved.conns {
		if place, still := moved[id]; !still || place != was[id] {
			closing = append(closing, c)
		}
	}
	p.mu.Unlock()
	for _, c := range closing {
		p.untrackConn(c)
	}
}

// Moved returns the places that SetMoved set last.
func (p *Port) Moved() map[string]Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.moved.places)
}

// placeOf returns where the node with the given id is reached. moved is false if that is its configured address.
func (p *Port) placeOf(id, configured string) (place Place, moved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if place, moved = p.moved.places[id]; moved {
		return place, true
	}
	return Place{Address: configured}, false
}

// trackMovedConn records a connection to a node that has moved. It returns false if the node is no longer reached there.
func (p *Port) trackMovedConn(c net.Conn, id string, at Place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if place, still := p.moved.places[id]; !still || place != at {
		return false
	}
	if p.moved.conns == nil {
		p.moved.conns = map[net.Conn]string{}
	}
	p.moved.conns[c] = id
	return true
}
