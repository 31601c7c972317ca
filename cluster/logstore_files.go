package cluster

import (
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// entryFiles is a file system for Pebble, which panics where it cannot end one file of its log or begin the next, and so
// ends the process with all that is in it. fatal is told of any write to such a file that fails, and the goroutine stands
// still: the data meant for it may be lost, and nothing may be acknowledged any more.
type entryFiles struct {
	vfs.FS
	onFault func(error) // with Pebble's locks held
}

func (f entryFiles) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return f.wrapEntryFile(name, file, err)
}

func (f entryFiles) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, category)
	return f.wrapEntryFile(to, file, err)
}

func (f entryFiles) wrapEntryFile(name string, file vfs.File, err error) (vfs.File, error) {
	if filepath.Ext(name) != ".log" {
		return file, err
	}
	opened := entryFile{file, f.onFault}
	return opened, opened.stopOnError(err)
}

type entryFile struct {
	vfs.File
	onFault func(error)
}

func (f entryFile) stopOnError(err error) error {
	if err == nil {
		return nil
	}
	f.onFault(err) // an error of the disk names the act and the path
	select {}
}

func (f entryFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.stopOnError(err)
}

func (f entryFile) Sync() error     { return f.stopOnError(f.File.Sync()) }
func (f entryFile) SyncData() error { return f.stopOnError(f.File.SyncData()) }
func (f entryFile) Close() error    { return f.stopOnError(f.File.Close()) }

func (f entryFile) SyncTo(length int64) (full bool, err error) {
	full, err = f.File.SyncTo(length)
	return full, f.stopOnError(err)
}
