package faultfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// folder is an open folder of the backing one. Names in it are reached by its descriptor, whatever its own name is now.
type folder struct {
	file  *os.File
	inode uint64
	uses  int // by changes
}

func (f *folder) path(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.file.Fd(), name)
}

// nameChange is a change of names: one that was made, one that was removed (to is empty), or one that was renamed.
type nameChange struct {
	from     *folder // nil: made
	fromName string
	to       *folder // nil: removed
	toName   string
	removed  string // where that lies which was removed, or replaced; "": nothing was
}

// namesJournal has the changes of names that are not synced, in their order.
type namesJournal struct {
	graveyard string // folder for what was removed until that is synced
	buried    int    // so far
	folders   map[uint64]*folder
	changes   []nameChange
}

func (j *namesJournal) openFolder(path string) (*folder, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	inode, err := inodeOf(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if known := j.folders[inode]; known != nil {
		known.uses++
		return known, file.Close()
	}
	f := &folder{file, inode, 1}
	j.folders[inode] = f
	return f, nil
}

func (j *namesJournal) release(f *folder) {
	if f == nil {
		return
	}
	if f.uses--; f.uses == 0 {
		delete(j.folders, f.inode)
		_ = f.file.Close() // of a folder that was read
	}
}

// bury moves what has a name out of the tree.
func (j *namesJournal) bury(path string) (removed string, err error) {
	j.buried++
	removed = filepath.Join(j.graveyard, fmt.Sprint(j.buried))
	return removed, os.Rename(path, removed)
}

// noteMade is called after a name was made.
func (j *namesJournal) noteMade(dir, name string) error {
	f, err := j.openFolder(dir)
	if err == nil {
		j.changes = append(j.changes, nameChange{to: f, toName: name})
	}
	return err
}

// remove removes a name, so that it can come back.
func (j *namesJournal) remove(dir, name string) error {
	f, err := j.openFolder(dir)
	if err != nil {
		return err
	}
	removed, err := j.bury(filepath.Join(dir, name))
	if err != nil {
		j.release(f)
		return err
	}
	j.changes = append(j.changes, nameChange{from: f, fromName: name, removed: removed})
	return nil
}

// rename renames, and keeps what it replaces.
func (j *namesJournal) rename(fromDir, fromName, toDir, toName string) error {
	from, err := j.openFolder(fromDir)
	if err != nil {
		return err
	}
	to, err := j.openFolder(toDir)
	if err != nil {
		j.release(from)
		return err
	}
	c := nameChange{from: from, fromName: fromName, to: to, toName: toName}
	target := filepath.Join(toDir, toName)
	if _, err = os.Lstat(target); err == nil {
		c.removed, err = j.bury(target)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = os.Rename(filepath.Join(fromDir, fromName), target)
	}
	if err != nil {
		if c.removed != "" {
			err = errors.Join(err, os.Rename(c.removed, target))
		}
		j.release(from)
		j.release(to)
		return err
	}
	j.changes = append(j.changes, c)
	return nil
}

// sync keeps the changes of one folder, and calls bury for the inode of each file that no name leads to any more.
func (j *namesJournal) sync(inode uint64, gone func(inode uint64)) error {
	var errs []error
	j.changes = slices.DeleteFunc(j.changes, func(c nameChange) bool {
		if (c.from == nil || c.from.inode != inode) && (c.to == nil || c.to.inode != inode) {
			return false
		}
		errs = append(errs, j.forget(c, gone))
		return true
	})
	return errors.Join(errs...)
}

// forget lets go of a change that is kept, and of what it removed.
func (j *namesJournal) forget(c nameChange, gone func(inode uint64)) error {
	j.release(c.from)
	j.release(c.to)
	if c.removed == "" {
		return nil
	}
	if inode, links, err := readLinks(c.removed); err == nil && links == 1 {
		gone(inode)
	}
	return os.RemoveAll(c.removed)
}

// losePower takes the changes back from the last to the first, but for the first keep ones.
func (j *namesJournal) losePower(keep int, e *Effects) error {
	var errs []error
	for i := len(j.changes) - 1; i >= 0; i-- {
		c := j.changes[i]
		if i < keep {
			e.KeptNames++
			errs = append(errs, j.forget(c, func(uint64) {}))
			continue
		}
		e.LostNames++
		errs = append(errs, c.takeBack())
		j.release(c.from)
		j.release(c.to)
	}
	j.changes = nil
	return errors.Join(errs...)
}

// takeBack undoes a change. What is not there any more was lost with its folder.
func (c nameChange) takeBack() error {
	var err error
	switch {
	case c.from == nil:
		err = os.RemoveAll(c.to.path(c.toName))
	case c.to == nil:
		err = os.Rename(c.removed, c.from.path(c.fromName))
	default:
		err = os.Rename(c.to.path(c.toName), c.from.path(c.fromName))
		if c.removed != "" {
			err = errors.Join(err, os.Rename(c.removed, c.to.path(c.toName)))
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
