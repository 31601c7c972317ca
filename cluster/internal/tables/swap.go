package tables

import (
	"errors"
	"fmt"

	"github.com/profilenode/profilenode/cluster/internal/disk"
	"github.com/profilenode/profilenode/fsm"
)

// generation is one folder of tables with its open machine.
type generation struct {
	machine    *fsm.Machine
	folder     string
	users      int  // readers and running acts, and one for being live; guarded by tables.mu
	superseded bool // CURRENT names another one: the folder goes when the last user does
}

// openGeneration opens the machine in a folder of tables, used once. It waits also where the files turn out to be damaged:
// Pebble is at work in the folder until it returns, and panics if the folder is deleted meanwhile.
func (t *Store) openGeneration(name string) (*generation, fsm.Position, error) {
	type opened struct {
		machine  *fsm.Machine
		position fsm.Position
	}
	o, err := disk.RunUnlessStuck(t.watch, func() (opened, error) {
		machine, err := fsm.Open(fsm.Options{
			FS: disk.StopOnFolderFault(t.fs, t.watch.MarkStuck), Dir: t.fs.PathJoin(t.root, name), Level: t.maxLevel,
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
	return &generation{machine: o.machine, folder: name, users: 1}, o.position, nil
}

// errSwapUnclear: nobody knows whether a start would find the old tables or the installed ones. Both are whole, but this
// process must apply no more.
var errSwapUnclear = errors.New("swap to the installed tables is unclear")

// Install makes a new folder, lets fill put a machine's files there and sync it, lets check judge where that machine
// stands, and swaps to it. An error leaves everything as it was, unless it is errSwapUnclear.
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
	old := t.live
	old.superseded = true
	t.live = g
	t.openGenerations++
	t.mu.Unlock()
	t.publishPosition(position)
	t.releaseGeneration(old)
	return nil
}

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

func (t *Store) releaseGeneration(g *generation) {
	t.mu.Lock()
	g.users--
	ends := g.users == 0
	t.mu.Unlock()
	if ends {
		t.endGeneration(g)
	}
}

// endGeneration closes a generation that nobody uses any more.
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

// closeMachine also closes a machine whose disk failed, unless Pebble stands still.
func (t *Store) closeMachine(g *generation) error {
	_, err := disk.RunUnlessStuck(t.watch, func() (struct{}, error) { return struct{}{}, g.machine.Close() })
	return err
}
