package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/datafolder"
	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/peerwire"
	"github.com/profilenode/profilenode/cluster/internal/raftlog"
	"github.com/profilenode/profilenode/cluster/internal/scrub"
	"github.com/profilenode/profilenode/cluster/internal/snapshot"
	"github.com/profilenode/profilenode/cluster/internal/tables"
	"github.com/profilenode/profilenode/fsm"
)

const keepSnapshots = 2

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
	n := &Node{config: c, log: c.Log, started: time.Now(), processID: datafolder.NewID(), ready: make(chan struct{})}
	n.lifecycle = newLifecycle(func(err error) {
		if n.port != nil {
			n.port.CloseConns()
		}
		cause, part := stopCause(err)
		n.log.Error("this node stops", "error", err, "code", "STOPS", "cause", cause, "part", part)
	}, n.shutDown)
	n.leadership, n.alarms, n.hungDisk, n.schedule = newLeadership(n), &alarmBoard{node: n}, &hungDisk{node: n}, &snapshotSchedule{node: n}
	if err := n.lifecycle.start(func() error { return n.openParts(ctx) }); err != nil {
		_ = n.Close(context.Background())
		return nil, fmt.Errorf("open node: %w", n.explainDamage(n.explainIfFull(err)))
	}
	return n, nil
}

// openParts opens the parts in this order: the folder, so that no other process uses it; the tables and the log, which
// must fit each other; the port; raft, if this node was in a cluster before. shutDown goes the opposite way.
func (n *Node) openParts(ctx context.Context) error {
	var err error
	if n.folder, err = datafolder.Open(n.config.Dir, n.config.FS); err != nil {
		return err
	}
	if n.config.FS == nil && n.config.Memory {
		n.config.FS = vfs.NewMem()
	}
	own := n.folder.Identity
	if expected := n.config.Cluster; expected != "" && own.Cluster != "" && own.Cluster != expected {
		return fmt.Errorf("data folder %s belongs to cluster %s, and this node is to be in cluster %s: name another folder, or correct the setting cluster",
			n.folder.Dir, own.Cluster, expected)
	}
	n.identity.Store(&own)
	n.log = n.log.With("id", own.ID) // every later line has the node's id
	n.config.Log = n.log
	if err := n.space.measure(n.config); err != nil { // before Pebble writes: its error would not say that the disk is full
		return err
	}
	if n.tables, err = tables.Open(n.config.FS, n.folder.PathOf(datafolder.TablesFolder), n.config.build(), n.log, failIn("tables", n.fail)); err != nil {
		return err
	}
	n.tables.Operations = &n.hungDisk.operations
	n.scrub = scrub.NewReader(n.log)
	n.tables.OnCompare = n.scrub.Begin
	if n.snapshots, err = snapshot.Open(n.config.FS, n.folder.PathOf(datafolder.SnapshotsFolder), keepSnapshots, n.log); err != nil {
		return err
	}
	n.snapshots.Build, n.snapshots.OnOldBuild = n.config.build(), failIn("tables", n.fail)
	n.snapshots.OnDamage = func(file string, damage error) {
		_ = n.lifecycle.start(func() error { // unless this node stops
			n.lifecycle.goroutines.Go(func() { n.schedule.replaceDamaged(file, damage) })
			return nil
		})
	}
	n.replica = tables.NewReplica(n.tables, n.snapshots, n.onEvents, failIn("tables", n.fail))
	n.snapshots.OnReceived = func(err error) {
		if err != nil {
			n.schedule.noteReceived(err)
		}
	}
	n.replica.OnInstalled = func(took time.Duration, err error) {
		n.config.Metrics.RecordSnapshot(true, took, err)
		n.schedule.noteReceived(err)
	}
	if n.port, err = listenForNodes(n.config, own.ID, n.processID); err != nil {
		return err
	}
	n.membership = newMembership(n, func(first *raft.Configuration) error {
		return n.lifecycle.start(func() error { return n.startRaft(first) })
	})
	n.leadership.onOpen = n.membership.tendMembers
	if own.Member {
		if err := n.openLog(); err != nil {
			return err
		}
		if err := n.checkLogCoversTables(); err != nil {
			return err
		}
		if err := n.membership.checkOldAddress(ctx); err != nil {
			return err
		}
	}
	if err := n.gossip.open(n); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	closing, run := n.lifecycle.closing, &n.lifecycle.goroutines
	if own.Member {
		if err := n.startRaft(nil); err != nil {
			return err
		}
	} else {
		run.Go(func() {
			if err := n.membership.findCluster(closing); err != nil && closing.Err() == nil {
				n.fail(err)
			}
		})
	}
	run.Go(func() { n.port.AcceptConns(n.membership.answers()) })
	run.Go(n.leadership.watchReady)
	run.Go(n.schedule.keepSnapshots)
	run.Go(func() { n.membership.hellos.Run(closing, n.membership.checkHellos) })
	run.Go(func() { n.space.watch(n) })
	run.Go(n.hungDisk.watchOperations)
	run.Go(func() { n.scrub.Run(closing) })
	run.Go(n.alarms.watchAlarms)
	return nil
}

func listenForNodes(c Config, id, processID string) (*peerwire.Port, error) {
	return peerwire.Listen(peerwire.Config{ID: id, ProcessID: processID, Bind: c.Bind, Advertise: c.Advertise, TLS: c.TLS, Listen: c.Listen, Dial: c.Dial, Log: c.Log})
}

func (n *Node) openLog() error {
	build := n.config.build()
	if fs := n.folder.FS; fs != nil {
		if err := build.CheckFolder(fs, n.folder.PathOf(datafolder.LogFolder)); err != nil {
			return fmt.Errorf("open log: %w", err)
		}
	}
	s, err := raftlog.Open(n.folder, build.FormatAt(n.tables.Position().Level), n.log, func(part string) func(error) { return failIn(part, n.fail) }, &n.hungDisk.operations)
	if err != nil {
		return err
	}
	n.storage = s
	admit := n.replica.CheckIncomingSnapshot(s.Log.LastIndex)
	n.snapshots.AdmitIncoming = func(index uint64) error {
		n.raftLoop.NoteReceiving()
		return admit(index)
	}
	n.replica.FitLog = s.Log.FitToSnapshot
	s.Log.ReadPace = n.replica.ReadPace
	// A crash may have come after a snapshot was installed and before the log was made to fit it.
	newest, err := n.snapshots.List()
	if err != nil {
		return err
	}
	covered := uint64(0)
	if len(newest) > 0 {
		covered = newest[0].Index
		err = s.Log.FitToSnapshot(covered, newest[0].Term, false)
	}
	s.Log.SetTrailingBytes(n.config.TrailingBytes, covered)
	return err
}

// checkLogCoversTables checks that the log still has every entry that the tables hold (or a snapshot has it), and that
// log and tables are of one cluster. A log that is behind its tables has lost entries that this node acknowledged.
func (n *Node) checkLogCoversTables() error {
	last, err := n.storage.Log.LastIndex()
	if err != nil {
		return err
	}
	first, err := n.storage.Log.FirstIndex()
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
		return datafolder.NewMissingPartError(n.folder.Dir, fmt.Sprintf("its log begins at entry %d, and no snapshot holds what was before", first))
	}
	position := n.tables.Position()
	if position.Index > last {
		return datafolder.NewMissingPartError(n.folder.Dir, fmt.Sprintf("its tables are at entry %d and its log ends at %d", position.Index, last))
	}
	if id := hex.EncodeToString(position.Cluster); id != "" && id != n.currentIdentity().Cluster {
		return fmt.Errorf("data folder %s: %s names cluster %s, its tables are of %s: they do not belong together", n.folder.Dir, datafolder.IdentityFile, n.currentIdentity().Cluster, id)
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
	log := peerwire.NewRaftLogger(n.log.With("from", "raft"))
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
	wire := peerwire.NewRaftTransport(n.port, log, n.schedule.noteSent)
	if first != nil {
		err := raft.BootstrapCluster(settings, n.storage.Log, n.storage.Votes, n.snapshots, wire, *first)
		if errors.Is(err, raft.ErrCantBootstrap) {
			err = n.storage.FinishFounding(*first)
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
	n.lifecycle.goroutines.Go(func() { n.leadership.watchLeadership(told) })
	r, err := newRaft(settings, n, wire)
	if err != nil {
		wire.Close()
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft.Store(r)
	return nil
}

// newRaft is raft's own, but a log that cannot be read while raft starts is an error.
func newRaft(settings *raft.Config, n *Node, wire raft.Transport) (_ *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrFailed, p)
		}
	}()
	started, err := raft.NewRaft(settings, n.replica, n.storage.Log, n.storage.Votes, n.snapshots, wire)
	if err == nil {
		n.storage.MarkRaftRunning()
	} else if cause := n.replica.RestoreErr; cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
		path := n.folder.PathOf(datafolder.SnapshotsFolder)
		if disk.IsDamage(disk.AsDamage(path, cause)) { // not of the tables, which are a copy of the snapshot
			err = disk.NewDamageError(path, err)
		}
	}
	return started, err
}

func (n *Node) onEvents(events []fsm.Event) {
	if l := n.leadership.now(); l != nil {
		l.detector.NoteEvents(events)
		n.config.Metrics.RecordEvents(events)
	}
	if n.config.OnEvents != nil {
		n.config.OnEvents(events)
	}
}

// Close stops this node: it refuses new commands, hands leadership over and releases the data folder. If ctx ends before
// that, leadership is not handed over; if the node is not stopped drainLimit later, Close returns an error and the stop goes
// on in the background.
func (n *Node) Close(ctx context.Context) error {
	n.lifecycle.beginStop()
	select {
	case <-n.lifecycle.stopped:
		return n.lifecycle.closeErr
	case <-ctx.Done():
	}
	n.lifecycle.hurry()
	select {
	case <-n.lifecycle.stopped:
		return n.lifecycle.closeErr
	case <-time.After(drainLimit):
		return fmt.Errorf("close node: it is not down yet: %w", ctx.Err())
	}
}

// shutDown stops the parts in the reverse order of openParts: each step still uses the parts that are stopped after it.
func (n *Node) shutDown() {
	n.lifecycle.waitUntilStarted()
	var errs []error
	if n.raftIfRunning() != nil {
		n.leadership.handOverLeadership()
	}
	n.gossip.close(n.lifecycle.hurried, n.log)
	if n.port != nil {
		n.port.CloseConns() // without followers a leader steps down within its lease, and answers entries in flight
	}
	n.lifecycle.endRunning()
	n.leadership.waitForEnd()
	n.lifecycle.drainFutures() // raft leaves some futures unanswered when it shuts down
	if r := n.raftIfRunning(); r != nil {
		if err := r.Shutdown().Error(); err != nil {
			errs = append(errs, fmt.Errorf("stop raft: %w", err))
		}
	}
	close(n.leadership.raftDown)
	if n.port != nil {
		n.port.Close()
	}
	n.lifecycle.goroutines.Wait()
	if n.tables != nil {
		errs = append(errs, n.tables.Close())
	}
	if n.storage != nil {
		errs = append(errs, n.storage.Close())
	}
	if n.folder != nil {
		errs = append(errs, n.folder.Close())
	}
	n.lifecycle.finish(errors.Join(errs...))
}
