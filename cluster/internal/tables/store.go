// Package tables keeps the state machine on a node's disk: the live tables and the swap to other tables when a snapshot
// is installed (store.go, swap.go, folder.go), views for readers (view.go), and the FSM that raft drives (replica.go),
// with the digests after the last entries (digests.go).
//
// The applied row is the row of the tables that holds the index of the last applied entry; each batch of writes updates it.
//
// Invariants: the applied row never goes back; no apply and no install waits for a reader; after a failed apply nothing
// more is applied.
package tables

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// Store holds the live tables of a node. Install swaps them for others.
//
// A generation is one folder of tables and its open state machine. Every call and every view uses one generation from its
// beginning to its end, and the generation counts them. A swap makes another generation live and leaves the old one to its
// users; the last of them closes it and deletes its folder. So no apply and no install ever waits for a reader.
//
// ApplyEntries, Checkpoint and Install must be called by one goroutine, in which raft hands over the log. All other methods
// may be called by any goroutine.
type Store struct {
	fs    vfs.FS
	root  string // folder that holds the folders of tables and currentFile
	build fsm.Build
	log   *slog.Logger
	watch *disk.Watch // ends the waits for Pebble after a fault

	// Operations notes the applies and flushes that are running. It must be set before the first apply; nil is allowed.
	Operations *disk.Operations

	// OnCompare is called with each range of rows that all nodes compare, and the view in which they are read. It must not block, and
	// must close the view. It must be set before the first apply; nil: nothing is compared.
	OnCompare func(from, to []byte, view *View)

	position atomic.Pointer[fsm.Position] // position of the live tables

	shutOnce sync.Once     // for closing after a fault
	closing  chan struct{} // closed when Close is called, or after a fault
	drained  chan struct{} // closed once the tables are closing and the last generation has ended

	mu              sync.Mutex
	live            *generation
	openGenerations int           // number of generations that have not ended
	lastFolder      uint64        // the highest folder number in use
	closed          bool          // closing is closed
	closeErr        error         // error of closing the live generation
	positionMoved   chan struct{} // closed and replaced when position changes
}

// ErrClosed is returned by calls on tables that are closing or closed.
var ErrClosed = errors.New("this node is shutting down")

// brokenCloseLimit is how long Close waits, after a fault, for the tables to close their files.
const brokenCloseLimit = time.Second

// Open opens the tables that root/CURRENT names. If there is no such file it makes empty tables. It deletes the remains
// of unfinished installs. build is what the tables apply and read. fatal is called when the disk has
// failed; it may be called with Pebble's locks held and must not block. A nil fs is the operating system's.
//
// Damaged tables are a disk.DamageError. Tables of a newer build are fsm.ErrOldBuild.
func Open(fs vfs.FS, root string, build fsm.Build, log *slog.Logger, fatal func(error)) (*Store, error) {
	if fs == nil {
		fs = vfs.Default
	}
	t := &Store{
		fs:            fs,
		root:          root,
		build:         build,
		log:           log,
		watch:         disk.NewWatch("tables", log, fatal),
		closing:       make(chan struct{}),
		drained:       make(chan struct{}),
		positionMoved: make(chan struct{}),
	}
	if err := disk.MakeFolder(fs, t.root); err != nil {
		return nil, fmt.Errorf("make folder of tables: %w", err)
	}
	name, founded, err := t.readCurrent()
	if err != nil {
		return nil, err
	}
	if err := t.deleteOtherFolders(name); err != nil {
		return nil, fmt.Errorf("delete left-over tables: %w", err)
	}
	if !founded {
		name = folderName(t.lastFolder + 1)
		t.lastFolder++
		if err := disk.MakeFolder(fs, fs.PathJoin(t.root, name)); err != nil {
			return nil, fmt.Errorf("make folder of tables: %w", err)
		}
	}
	g, position, err := t.openGeneration(name)
	if err != nil {
		return nil, err
	}
	if !founded {
		if err := t.writeCurrent(name); err != nil {
			return nil, errors.Join(err, g.machine.Close())
		}
	}
	t.live, t.openGenerations = g, 1
	t.position.Store(&position)
	return t, nil
}

// ApplyEntries applies entries in order and returns their outcomes. After an error it is unknown how many were applied,
// and no entry may be applied any more.
func (t *Store) ApplyEntries(logs []fsm.Log) ([]fsm.Applied, error) {
	g, err := t.acquireGeneration()
	if err != nil {
		return nil, err
	}
	type outcome struct {
		applied  []fsm.Applied
		position fsm.Position
	}
	done, err := disk.RunUnlessFailed(t.watch, func() (outcome, error) {
		defer t.releaseGeneration(g)
		defer t.Operations.Begin("apply entries to the tables")()
		applied, err := g.machine.Apply(logs)
		return outcome{applied, g.machine.Position()}, err
	})
	if err != nil {
		return nil, err
	}
	t.publishPosition(done.position)
	return done.applied, nil
}

// Position returns the position of the tables after the last apply or install.
func (t *Store) Position() fsm.Position { return *t.position.Load() }

// WaitApplied waits until the applied row has reached index. Only entries with commands move that row, so for the index
// of another entry WaitApplied waits for the next entry with commands. It returns early with an error if ctx ends, if the
// tables are closed (ErrClosed), or after a fault of the disk.
func (t *Store) WaitApplied(ctx context.Context, index uint64) error {
	for {
		t.mu.Lock()
		moved := t.positionMoved
		t.mu.Unlock()
		if t.Position().Index >= index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.closing:
			return ErrClosed
		case <-t.watch.Failed():
			return t.watch.Err()
		}
	}
}

// Flush syncs all applied entries to the disk. Applies may go on meanwhile.
func (t *Store) Flush() error {
	g, err := t.acquireGeneration()
	if err != nil {
		return err
	}
	_, err = disk.RunUnlessFailed(t.watch, func() (struct{}, error) {
		defer t.releaseGeneration(g)
		defer disk.TimeStep(t.log, "flush the tables", false)()
		defer t.Operations.Begin("flush the tables")()
		return struct{}{}, g.machine.Flush()
	})
	return err
}

// Checkpoint creates dir, which must not exist, as a copy of the tables by hard links, and returns the position of the
// copy.
func (t *Store) Checkpoint(dir string) (fsm.Position, error) {
	g, err := t.acquireGeneration()
	if err != nil {
		return fsm.Position{}, err
	}
	return disk.RunUnlessFailed(t.watch, func() (fsm.Position, error) {
		defer t.releaseGeneration(g)
		defer disk.TimeStep(t.log, "flush what came since, and link the tables", true)()
		return g.machine.Position(), g.machine.Checkpoint(dir)
	})
}

// Close refuses new calls and views, waits until the open ones have ended, and then flushes and closes the tables. After a
// fault of the disk it waits at most brokenCloseLimit, since Pebble may not return, and returns the fault.
func (t *Store) Close() error {
	t.closeForReading()
	select {
	case <-t.drained:
	case <-t.watch.Failed():
		select {
		case <-t.drained: // its files are closed, where they can be
		case <-time.After(brokenCloseLimit):
		}
	}
	select {
	case <-t.watch.Failed():
		return t.watch.Err()
	default:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closeErr
}

// closeForReading refuses new calls and views. The live tables are closed when the last open one ends. A fault may call it while
// Open still runs: the tables that Open makes live are then closed by the next call, which close makes.
func (t *Store) closeForReading() {
	t.mu.Lock()
	live, first := t.live, !t.closed
	t.live, t.closed = nil, true
	t.mu.Unlock()
	if first {
		close(t.closing)
	}
	if live != nil {
		t.releaseGeneration(live)
	}
}

func (t *Store) publishPosition(s fsm.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.position.Store(&s)
	close(t.positionMoved)
	t.positionMoved = make(chan struct{})
}

// reportFault handles a damaged file that a read has met, and a failed flush or compaction. Of the latter Pebble would
// retry without end, and nothing would show that the tables on the disk fall further and further behind. Pebble is not
// stuck in these cases, so the tables are closed, which ends its retries.
func (t *Store) reportFault(err error) {
	if pebble.IsCorruptionError(err) {
		err = disk.NewDamageError(t.root, err)
	}
	t.watch.Fail(err)
	t.shutOnce.Do(func() { go t.closeForReading() }) // Pebble's locks may be held here; Close waits for it by drained
}

// CheckFile checks the file of that name of the live tables, and returns nil if they have none. Snapshots are links to files of
// tables, which keep their names: if a file is damaged in a snapshot, the live tables may have the same damage.
func (t *Store) CheckFile(name string) error {
	g, err := t.acquireGeneration()
	if err != nil {
		return nil // this node stops
	}
	defer t.releaseGeneration(g)
	path := t.fs.PathJoin(t.root, g.folder, name)
	if _, err := t.fs.Stat(path); err != nil {
		return nil
	}
	if err := disk.CheckTable(t.fs, path); err != nil {
		return disk.NewDamageError(path, err)
	}
	return nil
}
