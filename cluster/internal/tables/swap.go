package tables

import (
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// generation is one folder of tables and its open state machine. See Store.
type generation struct {
	machine    *fsm.Machine
	folder     string // name of the folder
	users      int    // views, running calls, and one for the live generation; guarded by Store.mu
	superseded bool   // another generation is live: the last user deletes the folder; guarded by Store.mu
}

// openGeneration opens the tables in the folder name. The generation has one user. After a fault of the disk it still
// waits for Pebble unless Pebble is stuck: until its Open returns, Pebble works in the folder, and it panics if the
// folder is deleted meanwhile.
func (t *Store) openGeneration(name string) (*generation, fsm.Position, error) {
	g := &generation{folder: name, users: 1}
	type opened struct {
		machine  *fsm.Machine
		position fsm.Position
	}
	o, err := disk.RunUnlessStuck(t.watch, func() (opened, error) {
		machine, err := fsm.Open(fsm.Options{
			OnCompare: func(r fsm.ComparedRange) { t.handOverRange(g, r) },
			FS:        disk.StopOnFolderFault(t.fs, t.watch.MarkStuck), Dir: t.fs.PathJoin(t.root, name), Build: t.build,
			Logger: t.watch.Logger(), OnFault: t.reportFault, Broken: t.watch.Failed(),
		})
		if err != nil {
			return opened{}, err
		}
		return opened{machine, machine.Position()}, nil
	})
	if err != nil {
		if !errors.Is(err, fsm.ErrOldBuild) && !errors.Is(err, disk.ErrFailed) {
			err = disk.AsDamage(t.fs.PathJoin(t.root, name), err)
		}
		return nil, fsm.Position{}, fmt.Errorf("open tables %s: %w", name, err)
	}
	g.machine = o.machine
	return g, o.position, nil
}

// errSwapUnclear is the error of an install that failed while it wrote CURRENT, see Install.
var errSwapUnclear = errors.New("swap to the installed tables is unclear")

// Install replaces the live tables by others. fill writes the files of the new tables into the folder dir and syncs both;
// check gets their position and returns an error if they may not be installed. After an error the old tables are live and
// the new folder is deleted, unless the error is errSwapUnclear.
//
// The swap, step by step, and the effect of a crash or an error in each:
//
//   - A new folder is made beside the live one, filled, opened and checked, while the old tables go on serving readers. A
//     crash leaves an extra folder, which the next start deletes.
//   - CURRENT is replaced by one that names the new folder. This is the moment of the swap: a start opens the old tables
//     before it and the new ones after it. If the write fails, the file may hold either name. Both folders are then kept,
//     since the next start may need either, and this process must apply nothing more: its tables may not be those of the
//     next start.
//   - In memory the new generation becomes the live one, and its position is published. Calls and views that begin from now
//     on use it.
//   - The old generation loses the user that stood for being live. Its last view or call closes it and deletes its
//     folder. A crash before that leaves the folder, which the next start deletes.
func (t *Store) Install(fill func(dir string) error, check func(fsm.Position) error) error {
	t.mu.Lock()
	t.lastFolder++
	name := folderName(t.lastFolder)
	t.mu.Unlock()
	dir := t.fs.PathJoin(t.root, name)
	abandon := func(err error) error { return errors.Join(err, t.fs.RemoveAll(dir)) }

	if err := disk.MakeFolder(t.fs, dir); err != nil {
		return abandon(fmt.Errorf("make folder of tables: %w", err))
	}
	if err := fill(dir); err != nil {
		return abandon(err)
	}
	g, position, err := t.openGeneration(name)
	if err != nil {
		return abandon(err)
	}
	if err := check(position); err != nil {
		return abandon(errors.Join(err, t.closeMachine(g)))
	}
	if err := t.writeCurrent(name); err != nil {
		return fmt.Errorf("%w: %w", errSwapUnclear, errors.Join(err, t.closeMachine(g)))
	}

	t.mu.Lock()
	if t.closed { // a fault of the tables closed the store meanwhile, or the node stops
		t.mu.Unlock()
		return errors.Join(ErrClosed, t.closeMachine(g))
	}
	old := t.live
	old.superseded = true
	t.live = g
	t.openGenerations++
	t.mu.Unlock()
	t.publishPosition(position)
	t.releaseGeneration(old)
	return nil
}

// acquireGeneration returns the live generation with one user more. The caller must release it.
func (t *Store) acquireGeneration() (*generation, error) {
	select {
	case <-t.watch.Failed():
		return nil, t.watch.Err()
	default:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	t.live.users++
	return t.live, nil
}

// releaseGeneration ends one use of g. The last one ends g.
func (t *Store) releaseGeneration(g *generation) {
	t.mu.Lock()
	g.users--
	ends := g.users == 0
	t.mu.Unlock()
	if ends {
		t.endGeneration(g)
	}
}

// endGeneration closes a generation without users, and deletes its folder if it is not the live one.
func (t *Store) endGeneration(g *generation) {
	err := t.closeMachine(g)
	if g.superseded {
		if err == nil {
			err = t.fs.RemoveAll(t.fs.PathJoin(t.root, g.folder))
		}
		if err != nil {
			t.log.Warn("replaced tables were left on disk until the next start", "folder", g.folder, "error", err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !g.superseded {
		t.closeErr = err
	}
	t.openGenerations--
	if t.closed && t.openGenerations == 0 {
		close(t.drained)
	}
}

// closeMachine closes the state machine of g, also after a fault of the disk, unless Pebble is stuck.
func (t *Store) closeMachine(g *generation) error {
	_, err := disk.RunUnlessStuck(t.watch, func() (struct{}, error) { return struct{}{}, g.machine.Close() })
	return err
}
