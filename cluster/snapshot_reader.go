package cluster

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// snapshotReader streams a snapshot, and lets a restore on the same disk take the files instead.
type snapshotReader struct {
	*snapshotPacker
	store     *snapshotStore
	snapshot  *storedSnapshot
	data      string // folder of its files
	closeOnce sync.Once
	closeErr  error
}

// Close lets the snapshot go. Further calls do nothing and return the same.
func (r *snapshotReader) Close() error {
	r.closeOnce.Do(func() {
		r.closeErr = r.snapshotPacker.close()
		r.store.mu.Lock()
		r.snapshot.readers--
		r.store.mu.Unlock()
		r.store.deleteOld()
	})
	return r.closeErr
}

// copyTo puts the snapshot's files into dir, which holds none, and syncs them. Tables are linked, for nothing ever writes
// to one that is complete; the few small files beside them are copied.
func (r *snapshotReader) copyTo(dir string) error {
	fs := r.store.fs
	for _, f := range r.snapshot.meta.Files {
		from, to := fs.PathJoin(r.data, f.Name), fs.PathJoin(dir, f.Name)
		info, err := fs.Stat(from)
		if err != nil {
			return err
		}
		if info.Size() != f.Size {
			return fmt.Errorf("file %s of the snapshot has %d bytes, not %d", f.Name, info.Size(), f.Size)
		}
		if strings.HasSuffix(f.Name, ".sst") || strings.HasSuffix(f.Name, ".blob") {
			err = vfs.LinkOrCopy(fs, from, to)
		} else {
			err = vfs.Copy(fs, from, to)
		}
		if err != nil {
			return err
		}
	}
	return disk.SyncFolder(fs, dir)
}
