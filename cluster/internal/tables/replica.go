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

// Replica is the FSM that raft drives: it applies entries to the tables, takes snapshots of them and restores them. Raft
// calls ApplyBatch, Apply, Snapshot and Restore one at a time, in its goroutine for the FSM. All other methods may be
// called by any goroutine.
type Replica struct {
	tables    *Store
	snapshots *snapshot.Store
	onEvents  func([]fsm.Event)
	onFault   func(error)
	now       func() time.Time // the clock; tests replace it

	// OnInstalled is called after each install of a snapshot with its duration and its error. It must be set before raft
	// starts; nil is allowed.
	OnInstalled func(took time.Duration, err error)

	// FitLog makes raft's log fit a restored snapshot, see raftlog's FitToSnapshot. It must be set before raft starts; nil is
	// allowed.
	FitLog func(index, term uint64, running bool) error

	ReadPace *raftlog.ReadPace // is woken after each batch
	Digests  Digests           // digests after the last applied entries

	// RestoreErr is the error of the last Restore that failed. Raft's own error does not wrap it. It may be read once raft
	// has started or failed to start.
	RestoreErr error

	// handedIndex is the highest index that raft has handed over in this process, in an entry or a snapshot. It counts
	// entries without commands and entries that the tables already had.
	handedIndex uint64

	failure   error                     // why nothing is applied any more; nil: no failure
	busySince atomic.Pointer[time.Time] // when the running FSM call of raft began; nil: none is running
}

var _ raft.BatchingFSM = (*Replica)(nil)

// AppliedResults is the response to an entry that holds commands.
type AppliedResults struct {
	Index   uint64
	Term    uint64
	Skipped bool         // the tables already had the entry; there are no results
	Results []fsm.Result // one for each command of the entry
}

// NewReplica returns the FSM of the tables t. onEvents is called with the events of each batch after the batch is
// committed to the tables, in the order of the log, and must not block. stop is called once, when nothing can be applied
// any more; it is called in a goroutine of raft and must not wait for raft.
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

// ApplyBatch applies the entries of logs that hold commands. It returns one response for each entry: an AppliedResults,
// or nil for an entry without commands. If the batch fails, all responses are the error, and so are all later ones.
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

// Apply is ApplyBatch with one entry. It returns the response.
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

// failReplica ends all applying because of err, and stops this node.
func (r *Replica) failReplica(err error) {
	if !errors.Is(err, disk.ErrFailed) {
		err = fmt.Errorf("%w: %w", disk.ErrFailed, err)
	}
	r.failure = err
	r.onFault(err)
}

// ApplyingSince returns when the running apply, checkpoint or restore began. running is false if there is none. Nothing is
// applied before it ends.
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

// Snapshot takes a checkpoint of the tables. It returns an error while the tables are ahead of the entries that raft has
// handed over, as they are after a start until raft has replayed its log. Raft would label the checkpoint with the last
// index that it has handed over, which is below the content of the tables, and no snapshot may hold more than its label.
func (r *Replica) Snapshot() (raft.FSMSnapshot, error) {
	defer r.markApplying()()
	if r.failure != nil {
		return nil, r.failure
	}
	if row := r.tables.Position().Index; r.handedIndex < row {
		return nil, fmt.Errorf(
			"take snapshot: the tables are at entry %d, and the replay of the log is only at %d; try again later", row, r.handedIndex)
	}
	dir := r.snapshots.NewScratch()
	position, err := r.tables.Checkpoint(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take snapshot: %w", err), r.snapshots.RemoveScratch(dir))
	}
	return snapshot.NewCheckpoint(r.snapshots, dir, position), nil
}

// Restore brings the tables to a snapshot in this node's snapshot store. If they are not behind the snapshot, they stay
// as they are, so the tables never go back. This is usual at a start, where raft restores its newest snapshot and then
// hands over entries that the tables already have; those are skipped. In both cases Restore makes the log fit the
// snapshot.
//
// After an error the old tables are still live. Two errors also stop this node: a swap of which it is unclear whether it
// happened (errSwapUnclear), and tables that this build is too old to open.
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
			if errors.Is(err, errSwapUnclear) || errors.Is(err, fsm.ErrOldBuild) { // the next snapshot would need the same build
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

// installSnapshot replaces the tables by those of a snapshot, if they are of the same cluster and at the row that the
// snapshot's label says.
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

// CheckIncomingSnapshot returns the function for AdmitIncoming of the snapshot store. lastLog returns the last index of
// the log.
//
// The function refuses a snapshot that is not ahead of the tables while the log holds entries after it. Such a snapshot
// brings nothing new, and raft may delete the log after it, with entries that this node has acknowledged. A leader offers
// one to a follower that could not read its log for a moment.
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
