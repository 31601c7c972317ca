package cluster

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// folderSyncs is a file system for Pebble, which panics where a folder cannot be synced, in whichever goroutine, and so ends
// the process with all that is in it. fatal is told instead, and the goroutine stands still.
type folderSyncs struct {
	vfs.FS
	onFault func(error) // with Pebble's locks held
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
