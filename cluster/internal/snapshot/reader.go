package snapshot

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/profilenode/profilenode/cluster/internal/disk"
)

// Reader reads a snapshot as a stream. A restore on the same disk copies the files with CopyTo instead.
type Reader struct {
	*packer
	store     *Store
	snapshot  *storedSnapshot
	data      string // folder of the snapshot's files
	closeOnce sync.Once
	closeErr  error
}

// Meta describes the snapshot.
func (r *Reader) Meta() Meta { return r.snapshot.meta }

// Close ends the reading, after which the snapshot may be deleted. Further calls do nothing and return the same error.
func (r *Reader) Close() error {
	r.closeOnce.Do(func() {
		r.closeErr = r.packer.close()
		r.store.mu.Lock()
		r.snapshot.readers--
		r.store.mu.Unlock()
		r.store.deleteOld()
	})
	return r.closeErr
}

// CopyTo puts the snapshot's files into dir, an empty folder, and syncs it. Files of tables are hard links, since Pebble
// never writes to a complete one. The few small files beside them are copied.
func (r *Reader) CopyTo(dir string) error {
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

// UnwrapReader returns the Reader inside the wrappers that raft puts around it. It returns false if there is none.
func UnwrapReader(source io.ReadCloser) (*Reader, bool) {
	for {
		if own, ok := source.(*Reader); ok {
			return own, true
		}
		wrapper, ok := source.(raft.ReadCloserWrapper)
		if !ok {
			return nil, false
		}
		source = wrapper.WrappedReadCloser()
	}
}
