package clienttest

import (
	"sync/atomic"

	"github.com/profilenode/profilenode/cluster"
	"github.com/profilenode/profilenode/internal/memnet"
)

// nodeHost is the machine of the node.
const nodeHost = "node"

// host is the machine of the client with this name; after Kill it is a new one.
func (c *Cluster) host(name string) memnet.Host { return c.network.Host(c.prefix + name) }

// Disconnect cuts the client with this name off: nothing arrives any more, on either side, and the node is not told.
func (c *Cluster) Disconnect(name string) {
	c.CutGossip(name)
	c.CutCalls(name)
}

// CutCalls cuts off the client with this name as Disconnect does, but for its gossip.
func (c *Cluster) CutCalls(name string) {
	c.network.Cut(c.prefix+name, nodeHost)
	c.network.CloseConns(c.prefix + name)
}

// Reconnect lets the client with this name in again. The node learns now that the old connections are over.
func (c *Cluster) Reconnect(name string) {
	c.HealGossip(name)
	c.network.Heal(c.prefix+name, nodeHost)
}

// Kill has the effect of kill -9 on the client with this name: its connections end and its port refuses, without a goodbye.
// The client itself lives on in the test and does not know; it reaches nothing any more.
func (c *Cluster) Kill(name string) {
	c.CutGossip(name)
	c.network.Crash(c.prefix + name)
}

// FillDisk leaves the node less free disk space than its reserve, or enough again. The node notices within a second or two;
// from then on it takes no new data but the last saves of sessions.
func (c *Cluster) FillDisk(full bool) { c.space.full.Store(full) }

// diskSpace is the free space on the node's disk.
type diskSpace struct{ full atomic.Bool }

func (s *diskSpace) freeBytes() (uint64, error) {
	config := cluster.DefaultConfig()
	if s.full.Load() {
		return (config.Reserve + config.HardReserve) / 2, nil
	}
	return 2 * config.Reserve, nil
}
