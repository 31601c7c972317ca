package faultfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is a file system that fails when asked. This process serves it: a node on it must not outlive this process.
type FS struct {
	at, backing string
	server      *fuse.Server // nil: it is not mounted

	mu      sync.Mutex
	cut     bool          // the power is cut: everything fails
	changed chan struct{} // closed once the rules change or the power is cut, and made anew
	rules   []*activeRule
	effects Effects
	bytes   map[uint64]*byteJournal // by inode of the backing file
	names   *namesJournal
}

const unmountLimit = 10 * time.Second // a process that was killed lets go of its files a moment later

// Probe says why there is no such file system on this machine; nil: there is. It tries one.
func Probe() error {
	if os.Geteuid() != 0 {
		return errors.New("a FUSE file system takes root")
	}
	home, err := os.MkdirTemp("", "profilenode-faultfs")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }()
	f, err := Open(filepath.Join(home, "probe"))
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(f.Path(), "file"), []byte("x"), 0o600)
	return errors.Join(err, f.Close())
}

// Open mounts a file system at dir, which is made. Its files lie in dir with ".backing" behind it; those that are there already are
// its, and synced. A mount that an earlier process left there must be taken away first (disks.UnmountLeftovers).
func Open(dir string) (*FS, error) {
	f := &FS{at: dir, backing: dir + ".backing"}
	f.names = &namesJournal{graveyard: filepath.Join(f.backing, "removed")}
	if err := os.RemoveAll(f.names.graveyard); err != nil {
		return nil, err
	}
	for _, folder := range []string{dir, f.files(), f.names.graveyard} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
	}
	return f, f.mount()
}

func (f *FS) files() string { return filepath.Join(f.backing, "files") }

// Path is the folder at which it is mounted.
func (f *FS) Path() string { return f.at }

func (f *FS) mount() error {
	f.cut, f.changed = false, make(chan struct{})
	f.bytes, f.names.folders = map[uint64]*byteJournal{}, map[uint64]*folder{}
	loopback, err := fs.NewLoopbackRoot(f.files())
	if err != nil {
		return err
	}
	cached := time.Second // what the kernel remembers is right: nothing changes but through it
	options := &fs.Options{EntryTimeout: &cached, AttrTimeout: &cached, NullPermissions: true}
	options.MountOptions = fuse.MountOptions{DirectMountStrict: true, FsName: f.at, Name: "faultfs", DisableXAttrs: true}
	f.server, err = fs.Mount(f.at, &node{LoopbackNode: loopback.(*fs.LoopbackNode), fs: f}, options)
	if err != nil {
		return fmt.Errorf("mount a FUSE file system at %s: %w", f.at, err)
	}
	return nil
}

// Set puts rules in force, in place of those before, and lets go what hangs. Of several rules the first that hits acts.
func (f *FS) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for _, r := range rules {
		f.rules = append(f.rules, &activeRule{Rule: r})
	}
	f.releaseWaiting()
}

func (f *FS) releaseWaiting() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Effects counts what was done so far.
func (f *FS) Effects() Effects {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.effects
}

// CutPower lets every operation fail from now on, until Restore. What was not synced before is not synced any more.
func (f *FS) CutPower() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = true
	f.releaseWaiting()
}

// Restore mounts the file system again after CutPower, without what the loss takes. No process may use it.
func (f *FS) Restore(loss Loss) error {
	f.CutPower()
	if err := f.unmount(); err != nil {
		return err
	}
	f.mu.Lock()
	err := f.losePower(loss)
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("lose what was not synced in %s: %w", f.at, err)
	}
	return f.mount()
}

// losePower takes back what was not synced.
func (f *FS) losePower(loss Loss) error {
	random := rand.New(rand.NewPCG(loss.Seed, 0))
	keep := func() bool { return loss.Keep > 0 && random.Float64() < loss.Keep }
	pieceBytes := int64(loss.Piece)
	if pieceBytes == 0 {
		pieceBytes = 4096
	}
	var errs []error
	for _, inode := range sortedKeys(f.bytes) { // in one order, so that the seed says all
		j := f.bytes[inode]
		errs = append(errs, j.losePower(pieceBytes, keep, &f.effects), j.file.Close())
	}
	// A journal of a real file system has its names in order: it keeps the first of them.
	kept := 0
	if loss.Keep > 0 {
		for kept < len(f.names.changes) && keep() {
			kept++
		}
	}
	errs = append(errs, f.names.losePower(kept, &f.effects))
	return errors.Join(errs...)
}

func (f *FS) unmount() error {
	if f.server == nil {
		return nil
	}
	var err error
	for deadline := time.Now().Add(unmountLimit); time.Now().Before(deadline); {
		if err = f.server.Unmount(); err == nil {
			f.server = nil
			return nil
		}
	}
	return fmt.Errorf("unmount %s: %w", f.at, err)
}

// Close unmounts the file system. Its files stay in the backing folder, the unsynced ones too.
func (f *FS) Close() error {
	f.Set() // nothing hangs
	return f.unmount()
}

// meet is called before each operation: it counts it, and carries out the rule that hits it, if there is any.
func (f *FS) meet(op Op, path string) (hit Rule, errno syscall.Errno) {
	f.mu.Lock()
	f.effects.countOp(op)
	hit, ok := findRule(f.rules, op, path)
	changed := f.changed
	if ok {
		f.effects.countHit(hit)
	}
	cut := f.cut
	f.mu.Unlock()
	if cut {
		return hit, syscall.EIO
	}
	if hit.Delay > 0 {
		select {
		case <-time.After(hit.Delay):
		case <-changed:
		}
	}
	if hit.Hang {
		<-changed
	}
	return hit, hit.Errno
}

func (e *Effects) countHit(hit Rule) {
	if hit.Delay > 0 {
		e.Delayed++
	}
	if hit.Hang {
		e.Hung++
	}
	if hit.Errno != 0 {
		e.Failed++
	}
	if hit.Lie {
		e.Lied++
	}
}

// lock holds the journals; it returns EIO, and holds nothing, if the power is cut.
func (f *FS) lock() syscall.Errno {
	f.mu.Lock()
	if f.cut {
		f.mu.Unlock()
		return syscall.EIO
	}
	return 0
}

// openJournal returns the journal of a backing file, with one more handle. The caller holds the lock.
func (f *FS) openJournal(path string) (*byteJournal, error) {
	opened, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	inode, err := inodeOf(opened)
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	j := f.bytes[inode]
	if j != nil {
		err = opened.Close()
	} else {
		j = &byteJournal{file: opened, inode: inode}
		f.bytes[inode] = j
	}
	j.handles++
	return j, err
}

// closeJournal takes a handle away. The caller holds the lock.
func (f *FS) closeJournal(j *byteJournal) {
	j.handles--
	f.dropJournal(j)
}

// dropJournal closes a journal that nobody needs.
func (f *FS) dropJournal(j *byteJournal) {
	if j.handles == 0 && len(j.changes) == 0 && f.bytes[j.inode] == j {
		delete(f.bytes, j.inode)
		_ = j.file.Close() // nothing waits to be written
	}
}

// syncBytes keeps the bytes of a file. The caller holds the lock.
func (f *FS) syncBytes(j *byteJournal, hit Rule) syscall.Errno {
	switch {
	case hit.Errno != 0:
		j.abandon()
	case hit.Lie:
	default:
		j.sync()
	}
	return hit.Errno
}

// syncNames keeps the names in a folder. The caller holds the lock.
func (f *FS) syncNames(path string) error {
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		return err
	}
	return f.names.sync(stat.Ino, func(inode uint64) {
		if j := f.bytes[inode]; j != nil {
			j.changes, j.removed = nil, true
			f.dropJournal(j)
		}
	})
}
