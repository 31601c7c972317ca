package disk

import (
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// StopOnFolderFault returns a file system for Pebble in which a failed sync of a folder calls onFault and then never
// returns. Without it Pebble would panic, in one of its goroutines, which ends the process and all other nodes in it.
// onFault is called with Pebble's locks held and must not block.
func StopOnFolderFault(fs vfs.FS, onFault func(error)) vfs.FS { return folderSyncs{fs, onFault} }

// StopOnLogFault returns a file system for Pebble in which a failed operation on a file of Pebble's own log calls onFault
// and then never returns. The names of these files end in .log. The operation's data may be lost, so nothing that Pebble
// does afterwards may be acknowledged. onFault is called with Pebble's locks held and must not block.
func StopOnLogFault(fs vfs.FS, onFault func(error)) vfs.FS { return logFiles{fs, onFault} }

type folderSyncs struct {
	vfs.FS
	onFault func(error) // called with Pebble's locks held; must not block
}

func (f folderSyncs) OpenDir(name string) (vfs.File, error) {
	folder, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return syncedFolder{folder, name, f.onFault}, nil
}

type syncedFolder struct {
	vfs.File
	name    string
	onFault func(error)
}

func (f syncedFolder) Sync() error {
	err := f.File.Sync()
	if err == nil {
		return nil
	}
	f.onFault(fmt.Errorf("sync folder %s: %w", f.name, err))
	select {}
}

type logFiles struct {
	vfs.FS
	onFault func(error) // called with Pebble's locks held; must not block
}

func (f logFiles) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return f.wrapLogFile(name, file, err)
}

func (f logFiles) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, category)
	return f.wrapLogFile(to, file, err)
}

func (f logFiles) wrapLogFile(name string, file vfs.File, err error) (vfs.File, error) {
	if filepath.Ext(name) != ".log" {
		return file, err
	}
	opened := logFile{file, f.onFault}
	return opened, opened.stopOnError(err)
}

type logFile struct {
	vfs.File
	onFault func(error)
}

func (f logFile) stopOnError(err error) error {
	if err == nil {
		return nil
	}
	f.onFault(err) // the error of a file operation names the operation and the path
	select {}
}

func (f logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.stopOnError(err)
}

func (f logFile) Sync() error     { return f.stopOnError(f.File.Sync()) }
func (f logFile) SyncData() error { return f.stopOnError(f.File.SyncData()) }
func (f logFile) Close() error    { return f.stopOnError(f.File.Close()) }

func (f logFile) SyncTo(length int64) (full bool, err error) {
	full, err = f.File.SyncTo(length)
	return full, f.stopOnError(err)
}
