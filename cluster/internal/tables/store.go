// Package tables is the state machine on a node's disk: the tables that are live, and the swap to others when a snapshot is
// installed (store.go, swap.go, folder.go), views for readers (view.go), and raft's side of them (replica.go), with the digests
// of the last entries (digests.go).
//
// Its invariants: the applied row never goes back; a reader holds up neither an apply nor an install; after a failed apply
// nothing more is applied.
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

// Store is the machine that is live on this disk, and the swap to another one when a snapshot is installed.
//
// Readers hold a generation, not the machine: a swap leaves the old generation to them, and the last one that lets go closes
// it and deletes its folder. So neither an apply nor an install ever waits for a reader.
//
// apply, checkpoint and install belong to the one goroutine that hands over the log. All others may be called by any
// goroutine.
type Store struct {
	fs       vfs.FS
	root     string
	maxLevel uint32 // the highest that is applied
	log      *slog.Logger
	watch    *disk.Watch // of Pebble

	// Operations, when set before the first apply, notes applies and flushes.
	Operations *disk.Operations

	position atomic.Pointer[fsm.Position]

	shutOnce sync.Once
	closing  chan struct{} // closed by close
	drained  chan struct{} // closed once close was called and the last generation has ended

	mu              sync.Mutex
	live            *generation
	openGenerations int    // generations that have not ended
	lastFolder      uint64 // the highest folder number in use
	closed          bool
	closeErr        error
	positionMoved   chan struct{} // closed and replaced when position moves
}

// ErrClosed is the error of calls on tables that are closing.
var ErrClosed = errors.New("this node is shutting down")

// brokenCloseLimit is how long broken tables are given to close their files.
const brokenCloseLimit = time.Second

// Open opens what root/CURRENT names, or an empty machine where there never was one, and deletes what is
// left of installs that did not finish. fatal is told when the disk has failed in a way that leaves Pebble stuck; the
// node stops then. level is the highest that they apply. A nil fs is the disk.
func Open(fs vfs.FS, root string, level uint32, log *slog.Logger, fatal func(error)) (*Store, error) {
	if fs == nil {
		fs = vfs.Default
	}
	t := &Store{
		fs:            fs,
		root:          root,
		maxLevel:      level,
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

// ApplyEntries applies entries in order. After an error nobody knows how many of them, and nothing may be applied any more.
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

// Position is that of the last apply or install.
func (t *Store) Position() fsm.Position { return *t.position.Load() }

// WaitApplied returns once the applied row has reached index. The row only knows entries that hold commands: at the index
// of any other entry it waits for the next command.
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

// Flush brings what is applied to the disk. It may run beside applies.
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

// Checkpoint makes dir, which must not exist, a copy of the tables by hard links, and returns what it holds.
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

// Close lets no one in any more, waits for the views that are open, then flushes and closes the machine. It is for when
// nothing applies any more. Broken tables are not waited for: their machine may never answer.
func (t *Store) Close() error {
	t.closeForReading()
	select {
	case <-t.drained:
	case <-t.watch.Failed():
		select {
		case <-t.drained: // it lets go of its files, where it can
		case <-time.After(brokenCloseLimit):
		}
		return t.watch.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closeErr
}

// closeForReading lets no one in any more, and the machine go with the last who is in.
func (t *Store) closeForReading() {
	t.mu.Lock()
	live, first := t.live, !t.closed
	t.closed = true
	t.mu.Unlock()
	if first {
		close(t.closing)
	}
	if first && live != nil { // else it is being opened, which ends with the same fault
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

// reportFault is a failure beside the applies, of a flush or a compaction. Pebble would try again for ever, and nothing would
// show that the tables on disk stay behind. It is not stuck, so it is closed, which ends its trying.
func (t *Store) reportFault(err error) {
	if pebble.IsCorruptionError(err) {
		err = disk.NewDamageError(t.root, err)
	}
	t.watch.Fail(err)
	t.shutOnce.Do(func() { go t.closeForReading() }) // joined by close, through drained
}
