// Package cluster is a node of the replicated cluster: it keeps the log that every node agrees on and the tables that the
// log makes, and does the leader's work. A leader proposes commands, confirms its leadership, expires game servers that
// are gone, and admits nodes. No other package knows raft.
//
// It makes three promises. A command for which Propose returned no error is in the logs of a majority for good.
// ConfirmLeadership returns only if this node led at some moment after the call began. Whatever acts as the leader acts
// only in its own term.
//
// The parts, each in files of its own name: Node and its start (node.go, bootstrap.go, folder.go) and stop (stop.go);
// leadership and its term (leadership.go), confirmation rounds (confirm_leadership.go), proposals (propose.go),
// timestamps (clock.go, calendar.go); the failure detector (liveness.go, internal/liveness); membership (membership.go, answers.go, bootstrap.go, moved_address.go, members.go); the replicated tables (replica.go,
// tables*.go), snapshots (snapshot*.go) and raft's log (storage.go, logstore*.go); disk space, digests and alarms. Connections between nodes are in
// internal/peerwire. Read this file first, then leadership.go.
package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/gossip"
)

const keepSnapshots = 2

// Node is a running profilenode's part in its cluster.
type Node struct {
	config       Config
	log          *slog.Logger
	started      time.Time
	processID    string // random, made at each start: tells two processes apart that run under one node id
	folder       *folder
	storage      *raftStorage
	tables       *tablesStore
	snapshots    *snapshotStore
	replica      *replica
	port         *peerwire.Port
	nodeGossip   *gossip.Pool // the pool of nodes; nil without gossip
	serverGossip *gossip.Pool // the pool of game servers; nil without gossip

	ctx            context.Context // of all goroutines; ends in shutDown, just before raft is shut down
	cancel         context.CancelFunc
	openDone       chan struct{}  // closed when Open has finished, with or without an error
	goroutines     sync.WaitGroup // all goroutines of this node but those counted by joining and pendingFutures
	joining        sync.WaitGroup
	pendingFutures atomic.Int64 // goroutines that wait for raft to answer a future

	identity      atomic.Pointer[identity]
	raft          atomic.Pointer[raft.Raft]
	space         diskSpace
	alarmBook     alarmBook
	membership    *membership
	leadership    leadershipTerm
	leaderWaiters leaderWaiters
	ready         chan struct{}

	stopOnce     sync.Once
	closing      chan struct{} // closed when a stop begins
	closeNow     chan struct{} // closed when Close's context has ended or the node has failed: leadership is not handed over
	closeNowOnce sync.Once
	raftDown     chan struct{}
	stopped      chan struct{} // closed when nothing of this node runs any more
	done         chan struct{} // closed with stopped, or earlier when the node has failed
	doneOnce     sync.Once
	failure      atomic.Pointer[error]
	closeErr     error // written before stopped is closed
}

// Open starts a node. It returns once the node listens and its data folder has been checked; the node joins or founds its
// cluster in the background, see Ready. An error names the fault of the configuration, the folder or the port.
func Open(ctx context.Context, c Config) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	n := &Node{
		config: c, log: c.Log, started: time.Now(), processID: newID(),
		ready: make(chan struct{}), closing: make(chan struct{}), closeNow: make(chan struct{}),
		raftDown: make(chan struct{}), stopped: make(chan struct{}), done: make(chan struct{}),
	}
	n.leadership.changed = make(chan struct{})
	n.openDone = make(chan struct{})
	n.ctx, n.cancel = context.WithCancel(context.Background())
	err := n.openParts(ctx)
	close(n.openDone)
	if err != nil {
		_ = n.Close(context.Background())
		return nil, fmt.Errorf("open node: %w", n.explainDamage(n.explainIfFull(err)))
	}
	return n, nil
}

// openParts opens the parts in this order: the folder, so that no other process uses it; the tables and the log, which
// must fit each other; the port; raft, if this node was in a cluster before. shutDown goes the opposite way.
func (n *Node) openParts(ctx context.Context) error {
	var err error
	if n.folder, err = openFolder(n.config); err != nil {
		return err
	}
	if n.config.FS == nil && n.config.Memory {
		n.config.FS = vfs.NewMem()
	}
	own := n.folder.identity
	n.identity.Store(&own)
	n.log = n.log.With("id", own.ID) // every later line has the node's id
	n.config.Log = n.log
	if err := n.measureSpace(); err != nil { // before Pebble writes: its error would not say that the disk is full
		return err
	}
	if n.tables, err = openTablesStore(n.config.FS, n.config.Dir, n.config.Level, n.log, failIn("tables", n.fail)); err != nil {
		return err
	}
	if n.snapshots, err = openSnapshotStore(n.config.FS, n.config.Dir, keepSnapshots, n.log); err != nil {
		return err
	}
	n.replica = newReplica(n.tables, n.snapshots, n.onEvents, failIn("tables", n.fail))
	n.replica.metrics = n.config.Metrics
	if n.port, err = listenForNodes(n.config, own.ID); err != nil {
		return err
	}
	n.membership = newMembership(n)
	if own.Member {
		if err := n.openLog(); err != nil {
			return err
		}
		if err := n.checkLogCoversTables(); err != nil {
			return err
		}
		if err := n.checkOldAddress(ctx); err != nil {
			return err
		}
	}
	if err := n.openGossip(); err != nil {
		return err
	}
	if err := n.openServerGossip(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if own.Member {
		if err := n.startRaft(nil); err != nil {
			return err
		}
	} else {
		n.joining.Go(func() {
			ctx, cancel := n.untilClosing()
			defer cancel()
			if err := n.membership.findCluster(ctx); err != nil && ctx.Err() == nil {
				n.fail(err)
			}
		})
	}
	n.goroutines.Go(func() { n.port.AcceptConns(n.membership.answers()) })
	n.goroutines.Go(n.watchReady)
	n.goroutines.Go(n.keepSnapshots)
	n.goroutines.Go(func() {
		ctx, cancel := n.untilClosing()
		defer cancel()
		n.membership.hellos.Run(ctx, n.membership.checkHellos)
	})
	n.goroutines.Go(n.watchSpace)
	n.goroutines.Go(n.watchAlarms)
	return nil
}

func listenForNodes(c Config, id string) (*peerwire.Port, error) {
	return peerwire.Listen(peerwire.Config{ID: id, Bind: c.Bind, Advertise: c.Advertise, TLS: c.TLS, Listen: c.Listen, Dial: c.Dial, Log: c.Log})
}

func (n *Node) openLog() error {
	s, err := openStorage(n.folder, n.log, n.fail)
	if err != nil {
		return err
	}
	n.storage = s
	n.snapshots.admitIncoming = n.replica.checkIncomingSnapshot(s.log.LastIndex)
	n.replica.fitLog = s.log.fitToSnapshot
	s.log.readPace = n.replica.readPace
	// A crash may have come after a snapshot was installed and before the log was made to fit it.
	newest, err := n.snapshots.List()
	if err != nil {
		return err
	}
	covered := uint64(0)
	if len(newest) > 0 {
		covered = newest[0].Index
		err = s.log.fitToSnapshot(covered, newest[0].Term, false)
	}
	s.log.setTrailingBytes(n.config.TrailingBytes, covered)
	return err
}

// checkLogCoversTables checks that the log still has every entry that the tables hold (or a snapshot has it), and that
// log and tables are of one cluster. A log that is behind its tables has lost entries that this node acknowledged.
func (n *Node) checkLogCoversTables() error {
	last, err := n.storage.log.LastIndex()
	if err != nil {
		return err
	}
	first, err := n.storage.log.FirstIndex()
	if err != nil {
		return err
	}
	newest, err := n.snapshots.List()
	if err != nil {
		return err
	}
	if len(newest) > 0 {
		last = max(last, newest[0].Index)
	} else if first > 1 {
		return errMissingFile(n.folder.dir, fmt.Sprintf("its log begins at entry %d, and no snapshot holds what was before", first))
	}
	position := n.tables.positionNow()
	if position.Index > last {
		return errMissingFile(n.folder.dir, fmt.Sprintf("its tables are at entry %d and its log ends at %d", position.Index, last))
	}
	if id := hex.EncodeToString(position.Cluster); id != "" && id != n.currentIdentity().Cluster {
		return fmt.Errorf("data folder %s: %s names cluster %s, its tables are of %s: they do not belong together", n.folder.dir, identityFile, n.currentIdentity().Cluster, id)
	}
	return nil
}

// startRaft starts raft, which runs until the node stops. first is the configuration of a cluster that is being founded,
// nil otherwise. The identity says that this node is a member only once the log's files exist: from then on a missing
// file means lost votes.
func (n *Node) startRaft(first *raft.Configuration) error {
	if n.storage == nil {
		if err := n.openLog(); err != nil {
			return err
		}
	}
	own := n.currentIdentity()
	n.port.SetCluster(own.Cluster)
	log := raftLog{logger: n.log.With("from", "raft"), name: "raft"}
	told := make(chan bool)
	settings := raft.DefaultConfig()
	settings.LocalID = raft.ServerID(own.ID)
	settings.HeartbeatTimeout, settings.ElectionTimeout, settings.LeaderLeaseTimeout = n.config.Heartbeat, n.config.Election, n.config.LeaderLease
	settings.CommitTimeout = 20 * time.Millisecond
	settings.MaxAppendEntries = peerwire.MaxAppendEntries
	settings.BatchApplyCh = true
	settings.ShutdownOnRemove = false
	settings.SnapshotInterval, settings.SnapshotThreshold = time.Hour, 1<<62 // never by raft itself: keepSnapshots decides
	settings.TrailingLogs = n.config.TrailingLogs
	settings.NotifyCh = told
	settings.NoLegacyTelemetry = true
	settings.Logger = log
	wire := peerwire.NewRaftTransport(n.port, log)
	if first != nil {
		err := raft.BootstrapCluster(settings, n.storage.log, n.storage.stable, n.snapshots, wire, *first)
		if errors.Is(err, raft.ErrCantBootstrap) {
			err = n.storage.finishFounding(*first)
		}
		if err != nil {
			wire.Close()
			return fmt.Errorf("found cluster: %w", err)
		}
	}
	if !own.Member {
		own.Member, own.Founding = true, nil
		if err := n.takeIdentity(own); err != nil {
			wire.Close()
			return err
		}
	}
	n.goroutines.Go(func() { n.watchLeadership(told) })
	r, err := newRaft(settings, n.replica, n.storage, n.snapshots, wire)
	if err != nil {
		wire.Close()
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft.Store(r)
	return nil
}

// takeIdentity writes the node's identity to its folder, and uses it from then on.
func (n *Node) takeIdentity(own identity) error {
	if err := n.folder.writeIdentity(own); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	n.identity.Store(&own)
	return nil
}

func (n *Node) onEvents(events []fsm.Event) {
	if l := n.leaderStateNow(); l != nil {
		l.detector.NoteEvents(events)
		n.config.Metrics.RecordEvents(events)
	}
	if n.config.OnEvents != nil {
		n.config.OnEvents(events)
	}
}

func (n *Node) currentIdentity() identity { return *n.identity.Load() }

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
func (n *Node) Position() fsm.Position { return n.tables.positionNow() }

// View opens a view of this node's tables as they are now. The caller must close it. To read the latest state of the
// cluster, call ConfirmLeadership first.
func (n *Node) View() (*View, error) { return n.tables.openView() }

// WaitApplied returns once this node's tables hold the entry at index, which must hold commands.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.tables.waitApplied(ctx, index)
}

// Done is closed when this node has stopped, by Close or by itself.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns the fault that made this node stop itself, nil if there was none.
func (n *Node) Err() error {
	if err := n.failure.Load(); err != nil {
		return *err
	}
	return nil
}
