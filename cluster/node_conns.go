package cluster

import (
	"maps"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
)

// nodeConns holds the connections to the other members, by address.
type nodeConns map[raft.ServerAddress]*peerwire.Conn

// askEach asks all members but n itself, at the same time, and closes connections to former members.
func (as nodeConns) askEach(n *Node, members []raft.Server, ask func(raft.Server, *peerwire.Conn)) {
	var asking sync.WaitGroup
	current := map[raft.ServerAddress]bool{}
	for _, s := range members {
		if string(s.ID) == n.ID() {
			continue
		}
		current[s.Address] = true
		a := as[s.Address]
		if a == nil {
			a = n.port.ConnTo(peerwire.HostPort(s.Address), string(s.ID))
			as[s.Address] = a
		}
		asking.Go(func() { ask(s, a) })
	}
	asking.Wait()
	maps.DeleteFunc(as, func(address raft.ServerAddress, a *peerwire.Conn) bool {
		if !current[address] {
			a.Close()
		}
		return !current[address]
	})
}

func (as nodeConns) close() {
	for _, a := range as {
		a.Close()
	}
}
