package faultfs

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file or folder.
type node struct {
	*fs.LoopbackNode
	fs *FS
}

var (
	_ fs.NodeWrapChilder    = (*node)(nil)
	_ fs.NodeCreater        = (*node)(nil)
	_ fs.NodeOpener         = (*node)(nil)
	_ fs.NodeOpendirHandler = (*node)(nil)
	_ fs.NodeSetattrer      = (*node)(nil)
	_ fs.NodeRenamer        = (*node)(nil)
)

// WrapChild makes every node that is found below one of this type.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: ops.(*fs.LoopbackNode), fs: n.fs}
}

// path is the node's below the mount, with further elements.
func (n *node) path(names ...string) string {
	return filepath.Join(append([]string{n.Path(n.Root())}, names...)...)
}

func (n *node) backing(names ...string) string { return filepath.Join(n.fs.files(), n.path(names...)) }

// changeName carries out act, which changes a name in the folder, unless a rule forbids it.
func (n *node) changeName(name string, act func() syscall.Errno) syscall.Errno {
	if _, errno := n.fs.meet(Change, n.path(name)); errno != 0 {
		return errno
	}
	if errno := n.fs.lock(); errno != 0 {
		return errno
	}
	defer n.fs.mu.Unlock()
	return act()
}

// makeName carries out act, which makes a name.
func (n *node) makeName(name string, act func() (*fs.Inode, syscall.Errno)) (made *fs.Inode, errno syscall.Errno) {
	errno = n.changeName(name, func() (errno syscall.Errno) {
		if made, errno = act(); errno != 0 {
			return errno
		}
		return fs.ToErrno(n.fs.names.noteMade(n.backing(), name))
	})
	return made, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makeName(name, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Mkdir(ctx, name, mode, out) })
}

func (n *node) Mknod(ctx context.Context, name string, mode, device uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makeName(name, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Mknod(ctx, name, mode, device, out) })
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makeName(name, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Symlink(ctx, target, name, out) })
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.makeName(name, func() (*fs.Inode, syscall.Errno) { return n.LoopbackNode.Link(ctx, target, name, out) })
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.changeName(name, func() syscall.Errno { return fs.ToErrno(n.fs.names.remove(n.backing(), name)) })
}

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.changeName(name, func() syscall.Errno {
		if left, err := os.ReadDir(n.backing(name)); err != nil || len(left) > 0 {
			return max(fs.ToErrno(err), syscall.ENOTEMPTY)
		}
		return fs.ToErrno(n.fs.names.remove(n.backing(), name))
	})
}

func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok || flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	return n.changeName(name, func() syscall.Errno {
		if _, err := os.Lstat(to.backing(newName)); err == nil && flags != 0 {
			return syscall.EEXIST
		}
		return fs.ToErrno(n.fs.names.rename(n.backing(), name, to.backing(), newName))
	})
}

func (n *node) Create(
	ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut,
) (made *fs.Inode, handle fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	errno = n.changeName(name, func() syscall.Errno {
		_, err := os.Lstat(n.backing(name))
		var errno syscall.Errno
		made, handle, fuseFlags, errno = n.LoopbackNode.Create(ctx, name, flags&^uint32(os.O_TRUNC), mode, out)
		if errno != 0 {
			return errno
		}
		if os.IsNotExist(err) {
			if err := n.fs.names.noteMade(n.backing(), name); err != nil {
				return fs.ToErrno(err)
			}
		}
		handle, errno = n.wrapHandle(handle, n.backing(name), n.path(name), flags)
		return errno
	})
	return made, handle, fuseFlags, errno
}

// wrapHandle makes a file out of a handle that was opened without its flag to truncate.
func (n *node) wrapHandle(handle fs.FileHandle, backing, path string, flags uint32) (fs.FileHandle, syscall.Errno) {
	j, err := n.fs.openJournal(backing)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	if flags&uint32(os.O_TRUNC) != 0 {
		if err := j.noteResize(0); err != nil {
			return nil, fs.ToErrno(err)
		}
		if err := j.file.Truncate(0); err != nil {
			return nil, fs.ToErrno(err)
		}
	}
	return &file{LoopbackFile: handle.(*fs.LoopbackFile), fs: n.fs, path: path, journal: j}, 0
}

func (n *node) Open(ctx context.Context, flags uint32) (handle fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	if errno := n.fs.lock(); errno != 0 {
		return nil, 0, errno
	}
	defer n.fs.mu.Unlock()
	handle, fuseFlags, errno = n.LoopbackNode.Open(ctx, flags&^uint32(os.O_TRUNC))
	if errno == 0 {
		handle, errno = n.wrapHandle(handle, n.backing(), n.path(), flags)
	}
	return handle, fuseFlags, errno
}

func (n *node) Setattr(ctx context.Context, handle fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, resizes := in.GetSize()
	if !resizes {
		return n.LoopbackNode.Setattr(ctx, handle, in, out)
	}
	if _, errno := n.fs.meet(Write, n.path()); errno != 0 {
		return errno
	}
	if errno := n.fs.lock(); errno != 0 {
		return errno
	}
	defer n.fs.mu.Unlock()
	var journal *byteJournal
	if opened, ok := handle.(*file); ok {
		journal = opened.journal
	} else {
		var err error
		if journal, err = n.fs.openJournal(n.backing()); err != nil {
			return fs.ToErrno(err)
		}
		defer n.fs.closeJournal(journal)
	}
	if err := journal.noteResize(int64(size)); err != nil {
		return fs.ToErrno(err)
	}
	return n.LoopbackNode.Setattr(ctx, handle, in, out)
}

// Fsyncdir keeps the names in the folder.
func (d *dir) Fsyncdir(context.Context, uint32) syscall.Errno {
	hit, errno := d.node.fs.meet(SyncDir, d.node.path())
	if errno != 0 || hit.Lie {
		return errno
	}
	if errno := d.node.fs.lock(); errno != 0 {
		return errno
	}
	defer d.node.fs.mu.Unlock()
	return fs.ToErrno(d.node.fs.syncNames(d.node.backing()))
}

// dir is an open folder.
type dir struct {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	node *node
}

func (n *node) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	stream, errno := fs.NewLoopbackDirStream(n.backing())
	if errno != 0 {
		return nil, 0, errno
	}
	return &dir{stream.(fs.FileReaddirenter), stream.(fs.FileSeekdirer), stream.(fs.FileReleasedirer), n}, 0, 0
}

func inodeOf(file *os.File) (uint64, error) {
	var stat syscall.Stat_t
	err := syscall.Fstat(int(file.Fd()), &stat)
	return stat.Ino, err
}

// readLinks returns the number of names of a file.
func readLinks(path string) (inode, links uint64, err error) {
	var stat syscall.Stat_t
	err = syscall.Lstat(path, &stat)
	return stat.Ino, uint64(stat.Nlink), err
}

func sortedKeys(journals map[uint64]*byteJournal) []uint64 {
	return slices.Sorted(maps.Keys(journals))
}
