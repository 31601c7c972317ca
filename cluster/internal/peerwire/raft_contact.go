package peerwire

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftContacts records when each node last answered an append or a heartbeat of this node's raft. Raft itself tells only that
// a heartbeat failed, and drops what nobody reads in time.
type raftContacts struct {
	mu   sync.Mutex
	last map[raft.ServerID]time.Time
}

func (c *raftContacts) noteAnswer(id raft.ServerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[raft.ServerID]time.Time{}
	}
	c.last[id] = time.Now()
}

// LastRaftContact returns when the node with that id last answered an append or a heartbeat of this node's raft; the zero
// time: never since this process started.
func (p *Port) LastRaftContact(id string) time.Time {
	p.contacts.mu.Lock()
	defer p.contacts.mu.Unlock()
	return p.contacts.last[raft.ServerID(id)]
}
