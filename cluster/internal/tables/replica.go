package tables

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/cluster/internal/raftlog"
	"github.com/profilenode/profilenode/cluster/internal/snapshot"
	"github.com/profilenode/profilenode/fsm"
)

// Replica is raft's side of the tables. Its FSM methods are called by raft alone, one at a time; the others may be called by
// any goroutine.
type Replica struct {
	tables    *Store
	snapshots *snapshot.Store
	onEvents  func([]fsm.Event)
	onFault   func(error)
	now       func() time.Time

	// onInstalled, when set before raft starts, is told of each install of a snapshot.
	OnInstalled func(took time.Duration, err error)

	// fitLog, when set before raft starts, makes raft's log fit a snapshot that was restored, by its label.
	FitLog func(index, term uint64, running bool) error

	ReadPace    *raftlog.ReadPace
	Digests     Digests
	RestoreErr  error                     // of the last Restore that failed; raft's own error does not hold it
	handedIndex uint64                    // the raft index that this process has been handed, entries or snapshot; skipped ones count
	failure     error                     // an apply or a swap went wrong: nothing is applied any more
	busySince   atomic.Pointer[time.Time] // when the act that raft waits for began; nil when it waits for none
}

var _ raft.BatchingFSM = (*Replica)(nil)

// AppliedResults is raft's response to an entry that holds commands. The other response is the error that stopped this node.
type AppliedResults struct {
	Index   uint64
	Term    uint64
	Skipped bool // the tables had it already; there are no results
	Results []fsm.Result
}

// NewReplica puts raft's face on tables. onEvents is told of each batch after it is committed to the tables, in log
// order, and must not block. stop is told once, when this node can apply no more, and must not wait for raft.
func NewReplica(t *Store, s *snapshot.Store, onEvents func([]fsm.Event), stop func(error)) *Replica {
	r := &Replica{tables: t, snapshots: s, onEvents: onEvents, onFault: stop, now: time.Now}
	r.ReadPace = raftlog.NewReadPace(
		func() uint64 { return t.Position().Index },
		func() bool { _, running := r.ApplyingSince(); return running },
	)
	position := t.Position()
	r.Digests.resetTo(position.Index, position.Digest)
	return r
}

// ApplyBatch applies the entries that hold commands, and answers each entry: with an applied, with nil where there was no
// command, or with the error after which this node applies no more.
func (r *Replica) ApplyBatch(logs []*raft.Log) []any {
	defer r.ReadPace.WakeReader()
	defer r.markApplying()()
	responses := make([]any, len(logs))
	commands := make([]fsm.Log, 0, len(logs))
	for _, log := range logs {
		if log.Type == raft.LogCommand {
			commands = append(commands, fsm.Log{Index: log.Index, Term: log.Term, Data: log.Data})
		}
	}
	outcomes, err := r.applyEntries(commands)
	if err != nil {
		for i := range responses {
			responses[i] = err
		}
		return responses
	}
	var events []fsm.Event
	for i, log := range logs {
		r.handedIndex = log.Index
		if log.Type != raft.LogCommand {
			continue
		}
		outcome := outcomes[0]
		outcomes = outcomes[1:]
		responses[i] = AppliedResults{Index: log.Index, Term: log.Term, Skipped: outcome.Skipped, Results: outcome.Results}
		if !outcome.Skipped {
			r.Digests.add(log.Index, outcome.Digest)
		}
		events = append(events, outcome.Events...)
	}
	if len(events) > 0 && r.onEvents != nil {
		r.onEvents(events)
	}
	return responses
}

// Apply is a batch of one.
func (r *Replica) Apply(log *raft.Log) any { return r.ApplyBatch([]*raft.Log{log})[0] }

func (r *Replica) applyEntries(commands []fsm.Log) ([]fsm.Applied, error) {
	if r.failure != nil {
		return nil, r.failure
	}
	if len(commands) == 0 {
		return nil, nil
	}
	outcomes, err := r.tables.ApplyEntries(commands)
	if err == nil && len(outcomes) != len(commands) {
		err = fmt.Errorf("%d outcomes of %d entries", len(outcomes), len(commands))
	}
	if err != nil {
		r.failReplica(fmt.Errorf("apply entries %d to %d: %w", commands[0].Index, commands[len(commands)-1].Index, err))
		return nil, r.failure
	}
	return outcomes, nil
}

func (r *Replica) failReplica(err error) {
	if !errors.Is(err, disk.ErrFailed) {
		err = fmt.Errorf("%w: %w", disk.ErrFailed, err)
	}
	r.failure = err
	r.onFault(err)
}

// ApplyingSince says since when raft has been waiting for an apply, a checkpoint or a restore.
func (r *Replica) ApplyingSince() (since time.Time, running bool) {
	if at := r.busySince.Load(); at != nil {
		return *at, true
	}
	return time.Time{}, false
}

func (r *Replica) markApplying() (done func()) {
	at := r.now()
	r.busySince.Store(&at)
	return func() { r.busySince.Store(nil) }
}

// FlushTables makes the next Snapshot quick: it flushes beside the applies, so that little is left to flush while they wait.
func (r *Replica) FlushTables() error { return r.tables.Flush() }

// Snapshot takes a checkpoint of the tables. It refuses while the tables are ahead of the entries that raft has handed over,
// as they are after a start until the replay has caught up: raft would label the checkpoint with an index below its content.
func (r *Replica) Snapshot() (raft.FSMSnapshot, error) {
	defer r.markApplying()()
	if r.failure != nil {
		return nil, r.failure
	}
	if row := r.tables.Position().Index; r.handedIndex < row {
		return nil, fmt.Errorf("take snapshot: the tables are at entry %d, and the replay of the log is only at %d; try again later", row, r.handedIndex)
	}
	dir := r.snapshots.NewScratch()
	position, err := r.tables.Checkpoint(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take snapshot: %w", err), r.snapshots.RemoveScratch(dir))
	}
	return snapshot.NewCheckpoint(r.snapshots, dir, position.Index), nil
}

// Restore goes to a snapshot of our own store. Tables that are not behind it stay: at a start they mostly are ahead of it,
// and entries that raft then hands over again are skipped. So the tables never go back.
func (r *Replica) Restore(source io.ReadCloser) error {
	defer r.markApplying()()
	if r.failure != nil {
		return r.failure
	}
	from, ok := snapshot.UnwrapReader(source)
	if !ok {
		return errors.New("restore: the snapshot is not one of this node's store")
	}
	meta := from.Meta()
	if meta.Row > r.tables.Position().Index {
		began := time.Now()
		err := r.installSnapshot(from)
		if r.OnInstalled != nil {
			r.OnInstalled(time.Since(began), err)
		}
		if err != nil {
			err = fmt.Errorf("restore snapshot %s: %w", meta.Label.ID, err)
			r.RestoreErr = err
			if errors.Is(err, errSwapUnclear) || errors.Is(err, fsm.ErrOldBuild) { // the next one would be no older
				err = fmt.Errorf("%w: %w", disk.ErrFailed, err)
				r.failReplica(err)
			}
			return err
		}
		position := r.tables.Position()
		r.Digests.resetTo(position.Index, position.Digest)
	}
	if r.FitLog != nil {
		if err := r.FitLog(meta.Label.Index, meta.Label.Term, true); err != nil {
			return fmt.Errorf("restore snapshot %s: %w", meta.Label.ID, err)
		}
	}
	r.handedIndex = max(r.handedIndex, meta.Label.Index)
	return nil
}

func (r *Replica) installSnapshot(from *snapshot.Reader) error {
	ours := r.tables.Position()
	return r.tables.Install(from.CopyTo, func(theirs fsm.Position) error {
		switch {
		case theirs.Index != from.Meta().Row:
			return fmt.Errorf("it holds entries up to %d, not up to %d", theirs.Index, from.Meta().Row)
		case len(ours.Cluster) > 0 && !bytes.Equal(ours.Cluster, theirs.Cluster):
			return fmt.Errorf("it is of cluster %x, and this node is of %x", theirs.Cluster, ours.Cluster)
		}
		return nil
	})
}

// CheckIncomingSnapshot returns a function for the snapshots' AdmitIncoming: it turns away a snapshot that brings nothing, where
// taking it could cost entries. A
// follower with a log that could not be read for a moment is offered an older snapshot, and raft would drop its log above it,
// acknowledged entries too. lastLog is the last index of the log.
func (r *Replica) CheckIncomingSnapshot(lastLog func() (uint64, error)) func(index uint64) error {
	return func(index uint64) error {
		row := r.tables.Position().Index
		if index > row {
			return nil
		}
		last, err := lastLog()
		if err != nil {
			return fmt.Errorf("read last index of the log: %w", err)
		}
		if last > index {
			return fmt.Errorf("snapshot of entry %d is not above the tables at %d, and the log reaches %d", index, row, last)
		}
		return nil
	}
}
