// Package cluster is a node of the replicated cluster: it keeps the log that every node agrees on and the tables that the
// log makes, and does the leader's work. A leader proposes commands, confirms its leadership, expires game servers that
// are gone, and admits nodes. No other package knows raft.
//
// It makes three promises. A command for which Propose returned no error is in the logs of a majority for good.
// ConfirmLeadership returns only if this node led at some moment after the call began. Whatever acts as the leader acts
// only in its own term.
//
// The packages below it, from the bottom up: internal/disk (synced files, damage, a Pebble that hangs), internal/peerwire (the
// nodes' port), internal/quorum (which voters can be reached), internal/datafolder (the data folder and node.json),
// internal/raftlog (raft's log and votes), internal/raftloop (whether raft answers), internal/snapshot (snapshots as folders and
// as streams), internal/tables (the state machine on disk, and raft's side of it), internal/scrub (checksums of the rows),
// internal/liveness (the failure detector) and internal/commandqueue (commands that wait for an entry).
//
// The files, from the bottom up: settings and errors (config.go, errors.go, metrics.go); the comparison of the nodes' tables
// (digest.go); how a node stops (lifecycle.go); Node itself (node.go); one leadership (leader_state.go) with its timestamps
// (clock.go, calendar.go), confirmation rounds (confirm_leadership.go), proposals (propose.go) and failure detector
// (detector.go); how leadership begins and ends (leadership.go); the calls that only a leader serves (leader_calls.go);
// membership (answers.go, membership.go, bootstrap.go, members.go); disks that are nearly full or hang (disk_space.go,
// hung_disk.go); alarms and status (alarm.go, status.go); when snapshots are taken (snapshot_schedule.go); start and stop
// (open.go). Read this file first, then open.go and leadership.go.
package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/raftlog"
	"github.com/profilenode/profilenode/cluster/internal/raftloop"
	"github.com/profilenode/profilenode/cluster/internal/scrub"
	"github.com/profilenode/profilenode/cluster/internal/snapshot"
	"github.com/profilenode/profilenode/cluster/internal/tables"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// Node is a running profilenode's part in its cluster.
type Node struct {
	config    Config
	log       *slog.Logger
	started   time.Time
	processID string // random, made at each start: tells two processes apart that run under one node id

	folder    *datafolder.Folder
	storage   *raftlog.Storage
	tables    *tables.Store
	snapshots *snapshot.Store
	replica   *tables.Replica
	port      *peerwire.Port
	gossip    gossipPools
	scrub     *scrub.Reader

	lifecycle  *lifecycle
	identity   atomic.Pointer[datafolder.Identity]
	raft       atomic.Pointer[raft.Raft]
	space      diskSpace
	hungDisk   *hungDisk
	raftLoop   raftloop.Watch
	leadership *leadership
	membership *membership
	alarms     *alarmBoard
	schedule   *snapshotSchedule
	ready      chan struct{}
}

// fail stops this node because of a fault. When it returns, all connections to other nodes are closed, so that no answer
// based on the fault leaves this node. It must not block: raft and Pebble call it with their locks held.
func (n *Node) fail(err error) { n.lifecycle.fail(n.explainDamage(n.explainIfFull(err))) }

// takeIdentity writes the node's identity to its folder, and uses it from then on.
func (n *Node) takeIdentity(own datafolder.Identity) error {
	if err := n.folder.WriteIdentity(own); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	n.identity.Store(&own)
	return nil
}

func (n *Node) currentIdentity() datafolder.Identity { return *n.identity.Load() }

// raftIfRunning returns raft, or nil before this node is in a cluster.
func (n *Node) raftIfRunning() *raft.Raft { return n.raft.Load() }

// clusterID returns the cluster's id in the form that log entries hold.
func (n *Node) clusterID() []byte {
	id, err := hex.DecodeString(n.currentIdentity().Cluster)
	if err != nil {
		return nil
	}
	return id
}

// ID returns the node's id, which stays the same as long as its data folder exists.
func (n *Node) ID() string { return n.currentIdentity().ID }

// Addr returns the address on which this node listens for other nodes.
func (n *Node) Addr() net.Addr { return n.port.Addr() }

// Ready is closed once this node is in a cluster, knows a leader, and its tables hold that leader's opening command.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Position returns the index, term and digest of the tables after the last apply.
func (n *Node) Position() fsm.Position { return n.tables.Position() }

// View is the tables as they were at one index. It must be closed.
type View = tables.View

// View opens a view of this node's tables as they are now. The caller must close it. To read the latest state of the
// cluster, call ConfirmLeadership first.
func (n *Node) View() (*View, error) { return n.tables.OpenView() }

// WaitApplied returns once this node's tables hold the entry at index, which must hold commands.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.tables.WaitApplied(ctx, index)
}

// Done is closed when this node has stopped, by Close or by itself.
func (n *Node) Done() <-chan struct{} { return n.lifecycle.ended.Done() }

// DiskHang returns an error while this node's disk does not answer: an operation has not returned for long.
func (n *Node) DiskHang() error { return n.hungDisk.describeHang(hangNoticed) }

// CheckRaft returns an error once raft's main loop has answered nothing for 20 s, though the disk works. It asks the loop, so it
// must be called every few seconds to find that out. Without a majority, and before this node is in a cluster, raft is well.
func (n *Node) CheckRaft() error {
	r := n.raftIfRunning()
	if r == nil {
		return nil
	}
	// Raft's main loop itself answers the question, in each of its states.
	return n.raftLoop.Check(func() { _ = r.VerifyLeader().Error() }, n.DiskHang() != nil)
}

// Err returns the fault that made this node stop itself, nil if there was none.
func (n *Node) Err() error { return n.lifecycle.failure() }

// GossipState returns how a game server seems to gossip from here: alive, dead, left, or empty when it is not known. Advice
// only.
func (n *Node) GossipState(inc lock.Incarnation) string {
	return n.gossip.serverState(n.clusterID(), inc)
}

// explainIfFull adds the remedy to an error of a full disk, which filled up between two measurements. It searches the
// text too, since a fatal error of Pebble carries no more of its cause.
func (n *Node) explainIfFull(err error) error {
	if err == nil || errors.Is(err, ErrDiskFull) {
		return err
	}
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			err = fmt.Errorf("%w: the disk of data folder %s is full: free some space and start this node again", err, n.config.Dir)
			return &diskFullError{cause: "DISK_FULL", error: err}
		}
	}
	return err
}
