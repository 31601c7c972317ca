package faultfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"
)

// file is an open file.
type file struct {
	*fs.LoopbackFile
	fs      *FS
	path    string // at which it was opened, below the mount
	journal *byteJournal
}

var (
	_ fs.FileWriter          = (*file)(nil)
	_ fs.FileFsyncer         = (*file)(nil)
	_ fs.FileAllocater       = (*file)(nil)
	_ fs.FileReleaser        = (*file)(nil)
	_ fs.FilePassthroughFder = (*file)(nil)
)

// PassthroughFd keeps the kernel from writing to the backing file itself.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

func (f *file) Write(ctx context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	if _, errno := f.fs.meet(Write, f.path); errno != 0 {
		return 0, errno
	}
	if errno := f.fs.lock(); errno != 0 {
		return 0, errno
	}
	defer f.fs.mu.Unlock()
	if err := f.journal.noteWrite(offset, offset+int64(len(data))); err != nil {
		return 0, fs.ToErrno(err)
	}
	return f.LoopbackFile.Write(ctx, data, offset)
}

func (f *file) Fsync(context.Context, uint32) syscall.Errno {
	hit, errno := f.fs.meet(Sync, f.path)
	if errno != 0 && hit.Errno == 0 {
		return errno // there is no power
	}
	if errno := f.fs.lock(); errno != 0 {
		return errno
	}
	defer f.fs.mu.Unlock()
	return f.fs.syncBytes(f.journal, hit)
}

func (f *file) Allocate(ctx context.Context, offset, length uint64, mode uint32) syscall.Errno {
	if mode&^unix.FALLOC_FL_KEEP_SIZE != 0 {
		return syscall.EOPNOTSUPP // its users write zeros instead
	}
	if _, errno := f.fs.meet(Write, f.path); errno != 0 {
		return errno
	}
	if errno := f.fs.lock(); errno != 0 {
		return errno
	}
	defer f.fs.mu.Unlock()
	size, err := f.journal.size()
	if end := int64(offset + length); err == nil && mode == 0 && end > size {
		err = f.journal.noteResize(end)
	}
	if err != nil {
		return fs.ToErrno(err)
	}
	return f.LoopbackFile.Allocate(ctx, offset, length, mode)
}

func (f *file) Release(ctx context.Context) syscall.Errno {
	f.fs.mu.Lock()
	if f.fs.bytes[f.journal.inode] == f.journal {
		f.fs.closeJournal(f.journal)
	}
	f.fs.mu.Unlock()
	return f.LoopbackFile.Release(ctx)
}
